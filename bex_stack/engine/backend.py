"""A stack's files in Pulumi's file-backend layout, so that the CLI can adopt them.

`<dir>/.pulumi/stacks/<project>/<stack>.json` is the state; beside it `meta.yaml`, `backups/` and
`locks/`. Every write is complete or absent: a temporary file, fsync, rename.
"""

import contextlib
import datetime
import hashlib
import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bex_stack.engine import errors, passphrase, state

ORGANIZATION = "organization"
MAX_BACKUPS = 20


@dataclass(frozen=True, slots=True)
class StackFiles:
    """Where one stack's files are."""

    root: Path
    """The folder given to `pulumi login file://`."""
    project: str
    stack: str

    @property
    def _book(self) -> Path:
        return self.root / ".pulumi"

    @property
    def state(self) -> Path:
        """The state file."""
        return self._book / "stacks" / self.project / f"{self.stack}.json"

    @property
    def previous(self) -> Path:
        """The state before the last write."""
        return self.state.with_name(f"{self.stack}.json.bak")

    @property
    def backups(self) -> Path:
        """The states before each run."""
        return self._book / "backups" / self.project / self.stack

    @property
    def history(self) -> Path:
        """Where the CLI keeps its history of updates."""
        return self._book / "history" / self.project / self.stack

    @property
    def locks(self) -> Path:
        """Where holders of the stack put their lock files."""
        return self._book / "locks" / ORGANIZATION / self.project / self.stack

    @property
    def meta(self) -> Path:
        """Says which layout this is."""
        return self._book / "meta.yaml"

    @property
    def full_name(self) -> str:
        """The stack's name with organization and project."""
        return f"{ORGANIZATION}/{self.project}/{self.stack}"


@dataclass(frozen=True, slots=True)
class Stored:
    """A state file as read: the raw deployment, secrets still encrypted."""

    deployment: Mapping[str, Any]

    @property
    def salt(self) -> str:
        """The passphrase provider's salt state, or empty.

        Raises: SecretsError when the state uses another secrets provider.
        """
        provider = self.deployment.get("secrets_providers") or {}
        if not provider:
            return ""
        if provider.get("type") != "passphrase":
            raise errors.SecretsError(
                f"the state's secrets are kept by {provider.get('type')!r}; "
                "only passphrase is supported"
            )
        return str(provider["state"]["salt"])


def read(files: StackFiles) -> Stored | None:
    """Read the state file; None when the stack does not exist yet.

    Raises: StateCorrupt naming the file and the backup to restore.
    """
    try:
        text = files.state.read_text()
    except FileNotFoundError:
        _refuse_other_layouts(files)
        return None
    except (OSError, UnicodeDecodeError) as exc:
        raise errors.StateCorrupt(f"the state {files.state} cannot be read: {exc}") from exc
    try:
        return Stored(_deployment(json.loads(text), files))
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise errors.StateCorrupt(
            f"the state {files.state} is damaged ({exc}); nothing was touched. {_advice(files)}"
        ) from exc


def _refuse_other_layouts(files: StackFiles) -> None:
    """Refuse a state that is there in another form: taking it for absent would make all anew.

    Raises: StateError.
    """
    for suffix in (".gz", ".zst"):
        packed = files.state.with_name(files.state.name + suffix)
        if packed.exists():
            raise errors.StateError(
                f"the state {packed} is compressed, which only the pulumi CLI reads; unset "
                "PULUMI_DIY_BACKEND_GZIP and let the CLI write it once more"
            )
    old = files.state.parent.parent / files.state.name
    if old.exists():
        raise errors.StateError(
            f"the state {old} has the layout of an old CLI; run `pulumi state upgrade` first"
        )


def decode(
    stored: Stored, crypter: passphrase.Crypter | None, files: StackFiles
) -> state.Deployment:
    """Decrypt and check a state read before.

    Raises: StateCorrupt, or SecretsError for a secret that does not open.
    """
    raw = stored.deployment
    try:
        resources = tuple(state.from_record(each, crypter) for each in raw.get("resources") or ())
        pending = tuple(
            state.Pending(each["type"], state.from_record(each["resource"], crypter))
            for each in raw.get("pending_operations") or ()
        )
        _verify(resources)
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise errors.StateCorrupt(
            f"the state {files.state} is damaged ({exc!r}); nothing was touched. {_advice(files)}"
        ) from exc
    return state.Deployment(resources, pending, stored.salt, dict(raw.get("metadata") or {}))


def write(files: StackFiles, document: str) -> None:
    """Replace the state file, keeping the last one beside it."""
    files.state.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not files.meta.exists():
        _write_whole(files.meta, "version: 1\n")
    if files.state.exists():
        spare = files.previous.with_suffix(".tmp")
        spare.unlink(missing_ok=True)
        os.link(files.state, spare)
        spare.replace(files.previous)
    _write_whole(files.state, document)


def back_up(files: StackFiles) -> None:
    """Keep the state as it is before a run, and the newest backups only."""
    if not files.state.exists():
        return
    files.backups.mkdir(parents=True, exist_ok=True, mode=0o700)
    copy = files.backups / f"{files.stack}.{time.time_ns()}.json"
    copy.touch(mode=0o600)
    shutil.copyfile(files.state, copy)
    for old in sorted(files.backups.glob("*.json"))[:-MAX_BACKUPS]:
        old.unlink(missing_ok=True)


def remove(files: StackFiles) -> None:
    """Delete everything kept about the stack, and folders that are empty then."""
    for path in (files.state, files.previous):
        path.unlink(missing_ok=True)
        path.with_name(f"{path.name}.attrs").unlink(missing_ok=True)  # the CLI's storage library's
    for directory in (files.backups, files.history, files.locks):
        shutil.rmtree(directory, ignore_errors=True)
    remaining = list((files.root / ".pulumi" / "stacks").glob("*/*.json"))
    if not remaining:
        shutil.rmtree(files.root / ".pulumi", ignore_errors=True)


def document(
    files: StackFiles, records: list[str], pending: list[dict[str, Any]], salt: str, engine: str
) -> str:
    """Put a state file together from resources already written as JSON text."""
    head: dict[str, Any] = {
        "manifest": {
            "time": now(),
            "magic": hashlib.sha256(engine.encode()).hexdigest(),
            "version": engine,
        },
    }
    if salt:
        head["secrets_providers"] = {"type": "passphrase", "state": {"salt": salt}}
    tail: dict[str, Any] = {"pending_operations": pending} if pending else {}
    tail["metadata"] = {}
    body = json.dumps(head)[:-1] + ', "resources": [\n' + ",\n".join(records) + "\n], "
    latest = body + json.dumps(tail)[1:]
    name = json.dumps(files.full_name)
    return f'{{"version": 3, "checkpoint": {{"stack": {name}, "latest": {latest}}}}}\n'


def now() -> str:
    """Return the time as Go writes it."""
    return datetime.datetime.now(datetime.UTC).isoformat().replace("+00:00", "Z")


def _deployment(document: Any, files: StackFiles) -> Mapping[str, Any]:
    if document["version"] != 3:
        raise ValueError(f"version {document['version']} is not 3")
    checkpoint = document["checkpoint"]
    if checkpoint["stack"] not in (files.full_name, files.stack):
        raise ValueError(f"it belongs to stack {checkpoint['stack']}")
    latest = checkpoint.get("latest") or {}
    if not isinstance(latest, dict):
        raise TypeError("`latest` is not an object")
    return latest


def _verify(resources: tuple[state.Resource, ...]) -> None:
    """Check that everything a resource points to stands before it."""
    seen: set[str] = set()
    living: set[str] = set()
    for resource in resources:
        needed = [*resource.dependencies, resource.parent, resource.provider.rpartition("::")[0]]
        missing = [urn for urn in needed if urn and urn not in seen]
        if missing and not resource.delete:
            raise ValueError(f"{resource.urn} needs {missing[0]}, which does not stand before it")
        if not resource.delete and resource.urn in living:
            raise ValueError(f"{resource.urn} stands there twice")
        seen.add(resource.urn)
        if not resource.delete:
            living.add(resource.urn)


def _advice(files: StackFiles) -> str:
    candidates = [files.previous, *sorted(files.backups.glob("*.json"), reverse=True)]
    for path in candidates:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            _deployment(json.loads(path.read_text()), files)
            return f"Restore the last good one: cp {path} {files.state}"
    return "There is no backup beside it; restore the file from your own backup."


def _write_whole(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
