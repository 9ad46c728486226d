"""Stack references: outputs of another stack, read from its state file in the same backend."""

from pathlib import Path

from bex_stack.engine import backend, errors, passphrase, providers, urns, values

TYPE = "pulumi:pulumi:StackReference"


def read(root: Path, name: str, project: str, secret: str) -> values.Properties:
    """Return what a StackReference resource has as outputs; `secret` is the passphrase.

    Raises: ProviderError when the stack does not exist.
    """
    parts = name.split("/")
    if len(parts) == 3 and parts[0] == backend.ORGANIZATION:
        files = backend.StackFiles(root, parts[1], parts[2])
    elif len(parts) == 1:
        files = backend.StackFiles(root, project, parts[0])
    else:
        raise errors.ProviderError(
            f"stack reference {name!r} must read `{backend.ORGANIZATION}/<project>/<stack>`"
        )
    stored = backend.read(files)
    if stored is None:
        raise errors.ProviderError(f"the referenced stack {name!r} does not exist in {root}")
    crypter = None
    if stored.salt:
        crypter = passphrase.open_state(secret, stored.salt, str(files.state))
    resources = backend.decode(stored, crypter, files).resources
    stack = next((each for each in resources if each.type == urns.STACK_TYPE), None)
    outputs = stack.outputs if stack else {}
    return {
        "name": name,
        "outputs": outputs,
        "secretOutputNames": sorted(
            key for key, value in outputs.items() if values.has_secrets(value)
        ),
    }


class BuiltinProvider(providers.Plain):
    """Answers reads of stack references; there is nothing else to manage."""

    def __init__(self, root: Path, project: str, secret: str) -> None:
        self._root, self._project, self._secret = root, project, secret

    def create(
        self, subject: providers.Subject, inputs: values.Properties, *, preview: bool
    ) -> providers.Made:
        """Refuse: references are read, never created."""
        raise errors.Unsupported(f"{subject.type} can only be read")

    def update(
        self,
        subject: providers.Subject,
        identifier: str,
        old: tuple[values.Properties, values.Properties],
        new: values.Properties,
        *,
        preview: bool,
    ) -> providers.Made:
        """Refuse: references are read, never updated."""
        raise errors.Unsupported(f"{subject.type} can only be read")

    def delete(
        self,
        subject: providers.Subject,
        identifier: str,
        inputs: values.Properties,
        outputs: values.Properties,
    ) -> None:
        """Forget the reference; the other stack stays."""

    def read(
        self,
        subject: providers.Subject,
        identifier: str,
        inputs: values.Properties | None,
        outputs: values.Properties | None,
    ) -> providers.Made | None:
        """Read the other stack's outputs."""
        if subject.type != TYPE:
            raise errors.Unsupported(f"{subject.type} needs the pulumi CLI")
        name = values.reveal((inputs or {}).get("name", identifier))
        return providers.Made(identifier, read(self._root, name, self._project, self._secret))
