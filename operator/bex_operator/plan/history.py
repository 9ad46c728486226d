"""An App's releases over time: which configuration is wanted, what is recorded, what is forgotten.

A rollback is an annotation that names a release. It holds until the App's own spec changes: then
the spec counts again, and the annotation goes.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import pydantic

from bex_operator.api import app, images, names, records, status
from bex_operator.plan import artefacts, differences, releases, workload

KEPT = images.KEPT_RELEASES
_RESTART = "restartedAt"


class Impossible(Exception):
    """The App asks for a release that cannot be restored."""


@dataclass(frozen=True, slots=True)
class Rollback:
    """A release that is to be restored."""

    target: records.Record
    instead: str
    """Digest of the spec it stands in for."""


@dataclass(frozen=True, slots=True)
class Wish:
    """Which configuration the App is to have."""

    wanted: app.App
    rollback: Rollback | None = None
    """Set while a rollback holds."""
    fresh: bool = False
    """The rollback is asked for and not yet a release."""
    ended: bool = False
    """The annotation has done its work and must go."""


def read(manifests: Iterable[Mapping[str, Any]], uid: str) -> tuple[records.Record, ...]:
    """Read the records of the App with *uid*, oldest first."""
    found = (
        records.Record.from_manifest(each)
        for each in manifests
        if differences.owned_by(each, uid) and "deletionTimestamp" not in each["metadata"]
    )
    return tuple(sorted((each for each in found if each is not None), key=lambda r: r.number))


def find(known: Iterable[records.Record], number: int | None) -> records.Record | None:
    """Return the record of release *number*."""
    return next((each for each in known if each.number == number), None)


def wish(wanted: app.App, annotations: Mapping[str, str], known: Sequence[records.Record]) -> Wish:
    """Choose between the App's spec and the release that it is to go back to.

    Raises:
        Impossible: that release is not kept, or can no longer be run.
    """
    asked = annotations.get(names.ROLLBACK_ANNOTATION)
    if asked is None:
        return Wish(wanted)
    number = _number(asked)
    newest = known[-1] if known else None
    instead = _spec_digest(wanted)
    if newest is not None and number is not None and newest.rollback_to == number:
        if newest.instead != instead:
            return Wish(wanted, ended=True)
        return Wish(_restored(wanted, newest), Rollback(newest, instead))
    target = find(known, number)
    if target is None:
        kept = ", ".join(each.revision for each in known) or "none"
        raise Impossible(
            f"annotation {names.ROLLBACK_ANNOTATION}: {asked[:40]!r} is not kept; kept: {kept}"
        )
    return Wish(_restored(wanted, target), Rollback(target, instead), fresh=True)


def is_rolled_back(annotations: Mapping[str, str], known: Sequence[records.Record]) -> bool:
    """Tell whether the newest release is the rollback that the annotation asks for."""
    number = _number(annotations.get(names.ROLLBACK_ANNOTATION, ""))
    return number is not None and bool(known) and known[-1].rollback_to == number


def is_unreleased(built: artefacts.Ready, known: Sequence[records.Record]) -> bool:
    """Tell whether what was built became no release yet; the same image again is none."""
    released = {each.made.job for each in known if each.made is not None}
    is_new = built.made is not None and built.made.job not in released
    return is_new and (not known or known[-1].image != built.image)


def is_older(manifest: Mapping[str, Any], live: Mapping[str, Any]) -> bool:
    """Tell whether *live* asks for another release than *manifest*, an earlier state of the App."""
    return _asked(manifest["metadata"]) != _asked(live["metadata"])


def _asked(metadata: Mapping[str, Any]) -> tuple[Any, ...]:
    annotations = metadata.get("annotations") or {}
    rollback = annotations.get(names.ROLLBACK_ANNOTATION)
    return metadata["uid"], metadata.get("generation"), rollback


def config_of(wanted: app.App) -> dict[str, Any]:
    """Return the fields that make the pods; defaults are left out."""
    return wanted.model_dump(
        mode="json",
        by_alias=True,
        include=set(releases.RUNTIME_FIELDS),
        exclude_defaults=True,
        exclude_none=True,
    )


def opened(wish: Wish, release: status.Release, before: records.Record | None) -> records.Record:
    """Make the record of a new release; its image is not resolved yet, unless it is restored."""
    config, held = config_of(wish.wanted), wish.rollback
    return records.Record(
        number=release.number,
        digest=release.digest,
        config=config,
        image_digest=held.target.image_digest if held else None,
        note=held.target.note if held else None,
        origin=held.target.origin if held else None,
        made=_reused(held.target.made) if held else None,
        why=_why(config, before, wish),
        rollback_to=_origin(held, before, fresh=wish.fresh) if held else None,
        instead=held.instead if held else None,
    )


def adopted(record: records.Record, deployment: Mapping[str, Any]) -> records.Record:
    """Return the record of a release that *deployment* runs already, as it runs."""
    containers = deployment["spec"]["template"]["spec"]["containers"]
    running = next(each["image"] for each in containers if each["name"] == names.CONTAINER)
    digest = running.partition("@")[2] or None
    update = {"image_digest": digest, "note": None, "who": None, "why": "found running"}
    return record.model_copy(update=update)


def render(record: records.Record, owner: workload.Owner) -> dict[str, Any]:
    """Render the ControllerRevision of a record."""
    made = workload.child("apps/v1", "ControllerRevision", owner)
    made["metadata"]["name"] = f"{owner.name}-{record.revision}"
    return made | {"revision": record.number, "data": record.data()}


def pinned(wanted: app.App, record: records.Record) -> app.App:
    """Return the App with the record's configuration and its image by digest, if it is known."""
    as_asked = config_of(wanted) == record.config
    made = wanted if as_asked else _with_config(wanted, record.config)
    if record.image_digest is None or "@" in record.image:
        return made
    folder, slash, last = record.image.rpartition("/")
    bare = f"{folder}{slash}{last.partition(':')[0]}"
    return made.model_copy(update={"image": f"{bare}@{record.image_digest}"})


def superfluous(
    known: Sequence[records.Record], serving: str | None, target: int | None
) -> tuple[records.Record, ...]:
    """Return the records to forget: all but the last ten, the serving one and a rollback's."""
    return tuple(
        each for each in known[:-KEPT] if each.revision != serving and each.number != target
    )


def outcomes(
    before: Iterable[status.Outcome], *news: status.Outcome | None, now: str
) -> tuple[status.Outcome, ...]:
    """Return what became of the releases, with the news of *now*; one that served once did."""
    found = {each.number: each for each in before}
    for each in news:
        if each is None:
            continue
        known = found.get(each.number)
        if known is None or known.served < each.served:
            found[each.number] = each.model_copy(update={"at": now})
        elif not known.served:
            found[each.number] = each.model_copy(update={"at": known.at or now})
    return tuple(found[number] for number in sorted(found)[-KEPT:])


def failure(past: Iterable[status.Outcome], number: int) -> status.Outcome | None:
    """Return how release *number* failed, if it was given up."""
    return next((each for each in past if each.number == number and not each.served), None)


def previous(
    known: Sequence[records.Record],
    running: status.Release | None,
    before: status.AppStatus | None,
) -> records.Record | None:
    """Return the release that goes on while the newest one does not serve (any more).

    It is what runs; if that is the newest itself or was given up, it is what served last.
    """
    past = before.history if before else ()
    serving = before.active_revision if before else None
    going = next((each for each in known if running and each.number == running.number), None)
    last = next((each for each in known if each.revision == serving), None)
    for each in (going, last):
        if each is not None and each is not known[-1] and failure(past, each.number) is None:
            return each
    return None


def signed(
    record: records.Record, *, who: str | None, artefact: artefacts.Ready, before: str | None
) -> records.Record:
    """Write on a new record who asked, and where its image comes from; *before* is the last."""
    made = record.made
    if made is None and artefact.made is not None:
        made = _reused(artefact.made) if artefact.image == before else artefact.made
    origin = record.origin or artefact.origin
    return record.model_copy(update={"who": who, "origin": origin, "made": made})


def _reused(made: records.Made | None) -> records.Made | None:
    return made.model_copy(update={"reused": True}) if made is not None else None


def _number(asked: str) -> int | None:
    digits = asked.removeprefix("rev-")
    return int(digits) if digits.isdecimal() and len(digits) < 10 else None


def _spec_digest(wanted: app.App) -> str:
    """Digest what a rollback replaces: a restart is none of it, it may go on beside."""
    config = config_of(wanted)
    config.pop(_RESTART, None)
    text = orjson.dumps(config, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(text).hexdigest()[:32]


def _restored(wanted: app.App, record: records.Record) -> app.App:
    config = {key: value for key, value in record.config.items() if key != _RESTART}
    if wanted.restarted_at is not None:
        config[_RESTART] = wanted.restarted_at
    return _with_config(wanted, config)


def _with_config(wanted: app.App, config: Mapping[str, Any]) -> app.App:
    """Return the App with *config* instead of every field that makes its pods."""
    replaced = {*releases.RUNTIME_FIELDS, *releases.SOURCE_FIELDS, "name"}
    rest = wanted.model_dump(
        mode="json", by_alias=True, exclude=replaced, exclude_unset=True, exclude_none=True
    )
    given = {**rest, **config, "name": wanted.name}
    # Pods of then may promise no CPU to scale by: better a fixed number than no rollback.
    without = {key: value for key, value in given.items() if key != "autoscaling"}
    try:
        return _valid(given)
    except pydantic.ValidationError:
        try:
            return _valid(without)
        except pydantic.ValidationError as bad:
            raise Impossible(f"a release cannot run any more: {app.describe(bad)}") from bad


def _valid(given: Mapping[str, Any]) -> app.App:
    return app.App.model_validate_json(orjson.dumps(given), by_alias=True, by_name=False)


def _origin(held: Rollback, before: records.Record | None, *, fresh: bool) -> int | None:
    """A restart of a restored release restores the same one."""
    return held.target.number if fresh or before is None else before.rollback_to


def _why(config: Mapping[str, Any], before: records.Record | None, wish: Wish) -> str:
    if wish.rollback is not None and wish.fresh:
        return f"rollback to {wish.rollback.target.revision}"
    changed = _changed(config, before.config) if before is not None else []
    if changed == [_RESTART]:
        return "restart"
    if before is None:
        return "first release"
    return f"changed: {', '.join(changed)}" if changed else "asked for again"


def _changed(new: Mapping[str, Any], old: Mapping[str, Any]) -> list[str]:
    return sorted(key for key in {*new, *old} if new.get(key) != old.get(key))
