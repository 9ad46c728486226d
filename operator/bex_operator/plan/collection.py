"""Which images of the platform's registry nobody can need any more; whether it has room. Pure.

What runs, what a release, a build or an App names, and what those are made of, stays. Images that
builds pushed are reached by digest only: their tags name Jobs. Everywhere else a tag is somebody's
wish to keep what it names.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from bex_operator.api import images, names
from bex_operator.plan import artefacts, build_outcomes, builds

NEEDED_BYTES = 2 << 30
"""Least room on the registry's disk for a build to begin."""
ROOM_SECONDS = 60.0
"""How often an App that waits for room asks again."""
_DIGEST = re.compile(r"sha256:[a-f0-9]{64}")
_ATTACHED = re.compile(r"sha256-([a-f0-9]{64})(\..+)?")
"""Tags of what is attached to another image. Source: OCI distribution-spec 1.1, referrers."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """One image, index or artefact that the registry has."""

    repository: str
    digest: str
    tags: tuple[str, ...] = ()
    mentions: tuple[str, ...] = ()
    """Manifests of the same repository that it consists of."""
    subject: str = ""
    """What it is attached to."""
    touched: str = ""
    """When it was last pushed or asked for; the registry reads it, nobody else."""

    @property
    def owner(self) -> str:
        """UID of the App whose build pushed it; empty if none did."""
        return self.repository.split("/")[1] if self.repository.startswith(images.BUILDS) else ""

    @property
    def subjects(self) -> Iterable[str]:
        """What it is attached to, by its own word or by its tags'."""
        if self.subject:
            yield self.subject
        yield from (f"sha256:{found[1]}" for found in map(_ATTACHED.fullmatch, self.tags) if found)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the cluster says about images."""

    digests: frozenset[str]
    """Named anywhere: by pods and what makes them, by releases, Apps and what builds made."""
    owners: frozenset[str]
    """UIDs of all Apps."""
    building: frozenset[str]
    """UIDs of the Apps of which a build runs, or what came of it is not noted yet."""


def read_facts(
    apps: Sequence[Mapping[str, Any]],
    jobs: Sequence[Mapping[str, Any]],
    others: Iterable[Mapping[str, Any]],
) -> Facts:
    """Collect facts from Apps, Jobs and all *others* that may name images."""
    named: set[str] = set()
    for each in (*apps, *jobs, *others):
        named.update(_DIGEST.findall(orjson.dumps(each).decode()))
    labels = [(job["metadata"].get("labels") or {}, job) for job in jobs]
    return Facts(
        digests=frozenset(named),
        owners=frozenset(str(app["metadata"]["uid"]) for app in apps),
        building=frozenset(
            str(told.get(names.APP_UID_LABEL))
            for told, job in labels
            if told.get(names.COMPONENT_LABEL) == builds.COMPONENT
            and (build_outcomes.is_running(job) or build_outcomes.has_ended_unnoted(job))
        ),
    )


def without_room(free: int, needed: int = NEEDED_BYTES) -> artefacts.Waiting | None:
    """Refuse a build before it begins if what it makes could not be kept; sizes in bytes."""
    if free >= needed:
        return None
    gib = 1 << 30
    message = (
        f"the registry's disk has {free / gib:.1f} GiB left, and a build needs "
        f"{needed / gib:.1f} GiB; bex images collect lets go of what nobody needs"
    )
    return artefacts.Waiting("RegistryFull", message, ROOM_SECONDS)


def unreachable(manifests: Sequence[Manifest], facts: Facts) -> list[Manifest]:
    """Return what may go, each after everything that consists of it."""
    by_repository: dict[str, dict[str, Manifest]] = defaultdict(dict)
    for each in manifests:
        by_repository[each.repository][each.digest] = each
    found: list[Manifest] = []
    for held in by_repository.values():
        kept = _reached(held, [each for each in held.values() if _is_root(each, facts)])
        found += _outermost_first([each for each in held.values() if each.digest not in kept])
    return found


def _is_root(manifest: Manifest, facts: Facts) -> bool:
    if manifest.digest in facts.digests:
        return True
    if not manifest.owner:
        return _is_wanted(manifest)
    if manifest.repository.rpartition("/")[2] == images.IMAGE:
        return manifest.owner in facts.building
    return manifest.owner in facts.owners and _is_wanted(manifest)


def _is_wanted(manifest: Manifest) -> bool:
    return any(not _ATTACHED.fullmatch(tag) for tag in manifest.tags)


def _reached(held: Mapping[str, Manifest], roots: Sequence[Manifest]) -> set[str]:
    """Follow what manifests consist of, and what is attached to them."""
    attached: dict[str, list[Manifest]] = defaultdict(list)
    for each in held.values():
        for subject in each.subjects:
            attached[subject].append(each)
    kept: set[str] = set()
    open_ends = list(roots)
    while open_ends:
        each = open_ends.pop()
        if each.digest in kept:
            continue
        kept.add(each.digest)
        open_ends += [held[part] for part in each.mentions if part in held]
        open_ends += attached[each.digest]
    return kept


def _outermost_first(going: Sequence[Manifest]) -> list[Manifest]:
    """Order them so that nothing that stays for now names something that went before it."""
    by_digest = {each.digest: each for each in going}
    wholes = Counter(part for each in going for part in set(each.mentions))
    ready = [each for each in going if not wholes[each.digest]]
    ordered: dict[str, Manifest] = {}
    while ready:
        each = ready.pop()
        ordered[each.digest] = each
        for part in set(each.mentions):
            wholes[part] -= 1
            if not wholes[part] and part in by_digest:
                ready.append(by_digest[part])
    return [*ordered.values(), *(each for each in going if each.digest not in ordered)]
