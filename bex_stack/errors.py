"""What the program and the CLI refuse.

StackError            somebody must change something; the message says what
├── BadSettings       a key of the stack file
├── BadApp            a definition in apps/
├── HostUnfit         this host lacks something the stack needs
├── NotConfirmed      a person did not say yes
├── ChangesFound      `preview --expect-no-changes` found some
└── NotReady          the stack is up but an App does not answer
"""


class StackError(Exception):
    """Something a person can mend; the message names the place, the value and the rule."""


class BadSettings(StackError):
    """A stack file holds a key or value that cannot be used."""


class BadApp(StackError):
    """A module in `apps/` defines something that cannot be deployed."""


class HostUnfit(StackError):
    """This host lacks something the stack needs; each line ends with what mends it."""


class NotConfirmed(StackError):
    """Nobody said yes; nothing was changed."""


class ChangesFound(StackError):
    """A preview that should have found nothing found changes."""


class NotReady(StackError):
    """An App did not become ready in time."""
