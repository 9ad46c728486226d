"""What a git server, or the way to it, may get wrong.

GitError
├── Refused          the repository has to be named otherwise, or needs credentials
└── Unavailable      the same may work later
    └── Hindered     nobody was asked: the way there, ours, was not free
"""


class GitError(Exception):
    """No refs were learnt."""


class Refused(GitError):
    """Asking again is of no use before somebody changes something."""


class Unavailable(GitError):
    """The server does not answer as it should."""


class Hindered(Unavailable):
    """The cluster was in the way of the question: it costs little to put it again soon."""
