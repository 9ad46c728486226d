"""What the program and the CLI refuse.

StackError            somebody must change something; the message says what
├── BadSettings       a key of the stack file
├── BadApp            a definition in apps/
└── NotReady          the stack is up but an App does not answer
"""


class StackError(Exception):
    """Something a person can mend; the message names the place, the value and the rule."""


class BadSettings(StackError):
    """A stack file holds a key or value that cannot be used."""


class BadApp(StackError):
    """A module in `apps/` defines something that cannot be deployed."""


class NotReady(StackError):
    """An App did not become ready in time."""
