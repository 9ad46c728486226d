"""What can go wrong, by what the caller can do about it.

EngineError
├── ProjectError             a project or stack file is wrong: mend the file
├── SecretsError             a secret cannot be read or written
│   └── WrongPassphrase      give the passphrase the stack was made with
├── StateError               the state cannot be used
│   ├── StateCorrupt         restore the backup the message names
│   └── StateLocked          another run holds the stack: wait for it
├── Unsupported              the program uses what only the pulumi CLI offers: change the program
│   └── NeedsCli             the stack's resources need it: run the command the message gives
├── Refused                  an option forbids the step (protect): change the program
├── ProgramFailed            the program itself raised: mend the program
├── ResourceFailed           one resource's operation failed: see its message, run again
├── ProviderError            a provider cannot do what it was asked
│   └── Unreachable          the cluster does not answer: try again when it does
└── Interrupted              a person stopped the run: run again to go on
"""


class EngineError(Exception):
    """Anything the engine reports to a person; the message is complete."""


class ProjectError(EngineError):
    """A project or stack file breaks a rule; the message names file, key and rule."""


class SecretsError(EngineError):
    """A secret value cannot be encrypted or decrypted."""


class WrongPassphrase(SecretsError):
    """The passphrase does not open this stack."""


class StateError(EngineError):
    """The stack's state file cannot be read or written."""


class StateCorrupt(StateError):
    """The state file is damaged; the message names it and the backup to restore."""


class StateLocked(StateError):
    """Another live run holds the stack's lock."""


class Unsupported(EngineError):
    """The program asks for something outside the embedded engine's subset."""


class NeedsCli(Unsupported):
    """The stack has resources that only the pulumi CLI can manage."""


class Refused(EngineError):
    """A resource option forbids the step that the program asks for."""


class ProgramFailed(EngineError):
    """The program raised; `trace` is its traceback, ready to print."""

    def __init__(self, message: str, trace: str = "") -> None:
        super().__init__(message)
        self.trace = trace


class ProviderError(EngineError):
    """A provider cannot do what the engine asked."""


class Unreachable(ProviderError):
    """The cluster behind a provider does not answer."""


class PartlyDone(ProviderError):
    """The object exists but did not become ready; `id` and `outputs` are what to remember."""

    def __init__(self, message: str, identifier: str, outputs: dict[str, object]) -> None:
        super().__init__(message)
        self.identifier = identifier
        self.outputs = outputs


class ResourceFailed(EngineError):
    """One resource's operation failed."""

    def __init__(self, urn: str, operation: str, reason: str) -> None:
        super().__init__(f"{operation} of {urn.rsplit('::', 1)[-1]} failed ({urn}): {reason}")
        self.urn = urn
        self.operation = operation
        self.reason = reason


class Interrupted(EngineError):
    """A person stopped the run; what was in flight is finished and saved."""
