"""The record of a release: what a ControllerRevision of an App holds, to restore it from."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import pydantic
from pydantic import Field

from bex_operator.api import rules, status

Trigger = Literal["first", "push", "order", "spec"]
"""What starts a build: there was none, the branch moved, a person asked, or the spec changed."""


class Made(rules.Model):
    """How a built image came to be. Fields that a later version added are ignored."""

    model_config = pydantic.ConfigDict(extra="ignore")

    job: str
    """The Job that built it."""
    commit: str
    author: str = ""
    subject: str = ""
    """First line of the commit's message."""
    trigger: Trigger = "push"
    by: str | None = None
    """Who asked, or changed the spec."""
    ended: str = ""
    """When the build ended; empty while it runs."""
    seconds: dict[str, float] = Field(default_factory=dict)
    """By step: queue, place, clone, resolve, build, push."""
    reused: bool = False
    """The image was there already: the release came from something else than a build."""


class Record(rules.Model):
    """One release as it was opened. Fields that a later version added are ignored."""

    model_config = pydantic.ConfigDict(extra="ignore")

    number: Annotated[int, Field(ge=1)]
    """The N of `rev-N`."""
    digest: str
    """Digest of the runtime configuration."""
    config: dict[str, Any]
    """The fields of the App's spec that make its pods, as written; defaults are left out."""
    image_digest: str | None = None
    """What the image's tag meant when the release was opened."""
    note: str | None = None
    """Why the tag was not resolved."""
    origin: str | None = None
    """Where a built image comes from, for people."""
    made: Made | None = None
    """How a built image came to be."""
    why: str
    """What made it a release, for people."""
    who: str | None = None
    """Who asked for it: a person, or the program that wrote the App object."""
    rollback_to: int | None = None
    """The release that it restores."""
    instead: str | None = None
    """Digest of the spec that it stands in for; another spec ends the rollback."""

    @property
    def revision(self) -> str:
        """Name of the release."""
        return f"rev-{self.number}"

    @property
    def release(self) -> status.Release:
        """The release as the App's status names it."""
        return status.Release(number=self.number, digest=self.digest)

    @property
    def image(self) -> str:
        """Image as written."""
        return str(self.config.get("image", ""))

    def data(self) -> dict[str, Any]:
        """Render `data` of the ControllerRevision; the number is its `revision`."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"number"})

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, Any]) -> Self | None:
        """Read a ControllerRevision; None if it is no record of ours."""
        data = manifest.get("data")
        if not isinstance(data, Mapping):
            return None
        given = {**data, "number": manifest.get("revision")}
        try:
            return cls.model_validate(given, by_alias=True, by_name=False)
        except pydantic.ValidationError:
            return None
