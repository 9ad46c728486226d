"""What can go wrong between us and a registry, by what the caller can do about it.

RegistryError
├── NotFound      the registry answers, and the image is not there: somebody must push or rename it
├── Refused       the registry lets nobody in with what they have: the platform has to be mended
└── Unavailable   no usable answer: silent, forbidden, not to be asked; the tag has to do
"""


class RegistryError(Exception):
    """Anything that went wrong with a registry."""


class NotFound(RegistryError):
    """Every registry that was asked answered that it has no such image."""


class Refused(RegistryError):
    """The registry lets nobody in with these credentials."""


class Unavailable(RegistryError):
    """It is not known whether the image is there."""
