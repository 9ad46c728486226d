"""What lies beside an image that was built here: how it was built, and what is in it.

BuildKit keeps both as in-toto statements in the image's index.
Source: BuildKit's docs/attestations/attestation-storage.md.
"""

import asyncio
import http.client
import json
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich import table

from bex_stack import errors, release_table, targets
from bex_stack.embedded import registry

SBOM, PROVENANCE = "https://spdx.dev/Document", "https://slsa.dev/provenance/"
"""How the types of the statements begin."""
_ANSWER_SECONDS = 30
_ACCEPTED = ", ".join(f"application/vnd.oci.image.{each}.v1+json" for each in ("index", "manifest"))
_ABOUT, _TYPE = "vnd.docker.reference.digest", "in-toto.io/predicate-type"

Fetch = Callable[[str], Any]
"""Reads `manifests/DIGEST` or `blobs/DIGEST` of the image's repository."""
Statement = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Package:
    """One package in an image."""

    name: str
    version: str
    kind: str
    """What manages it, as package URLs say: `deb`, `golang`, `pypi`, `npm`."""
    found: str
    """Where in the image it was read."""

    def as_dict(self) -> dict[str, str]:
        """Return it as plain JSON."""
        return asdict(self)


async def read(
    target: targets.Target, name: str, revision: str | None, predicate: str
) -> Statement:
    """Return the statement of that type about a release's image; that which serves, or *revision*.

    Raises:
        errors.StackError: there is no such App, release or statement, or no registry answers.
    """
    releases = await release_table.observe(target, name)
    wanted = revision or releases.serving
    kept = [record for record, _ in releases.kept if record.revision == wanted]
    if not kept:
        raise errors.StackError(f"App {name}: release {wanted or 'that serves'} is not kept")
    image = kept[0].image
    reference = image if "@" in image else f"{image}@{kept[0].image_digest}"
    host, _, rest = reference.partition("/")
    repository, _, digest = rest.partition("@")
    if host != registry.KNOWN_AS:
        raise errors.StackError(f"App {name} runs {image}, which was not built here")
    base = f"http://{registry.endpoint(target.instance)}/v2/{repository}"
    try:
        found = await asyncio.to_thread(find, fetcher(base), digest, predicate)
    except (OSError, http.client.HTTPException) as exc:
        raise errors.StackError(f"the registry does not answer for {image}: {exc}") from exc
    if found is None:
        raise errors.StackError(f"App {name}: nothing of the kind lies beside {image}")
    return found


def find(fetch: Fetch, digest: str, predicate: str) -> Statement | None:
    """Return the first statement of that type about the image that the index *digest* names."""
    for each in fetch(f"manifests/{digest}").get("manifests", ()):
        if _ABOUT not in each.get("annotations", {}):
            continue
        for layer in fetch(f"manifests/{each['digest']}")["layers"]:
            if layer.get("annotations", {}).get(_TYPE, "").startswith(predicate):
                statement: Statement = fetch(f"blobs/{layer['digest']}")
                return statement
    return None


def packages(statement: Statement) -> list[Package]:
    """Read the packages of an SPDX document, by kind and name."""
    found = set()
    for each in statement["predicate"].get("packages") or ():
        for reference in each.get("externalRefs") or ():
            if reference["referenceType"] != "purl":
                continue
            kind = reference["referenceLocator"].removeprefix("pkg:").partition("/")[0]
            where = each.get("sourceInfo", "").partition(" from ")[2]
            found.add(Package(each["name"], each.get("versionInfo", ""), kind, where))
    return sorted(found, key=lambda each: (each.kind, each.name, each.version, each.found))


def render(found: Sequence[Package]) -> table.Table:
    """Lay packages out as a table without lines."""
    drawn = table.Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("KIND", "PACKAGE", "VERSION", "FOUND IN"):
        drawn.add_column(heading, no_wrap=True)
    for each in found:
        drawn.add_row(each.kind, each.name, each.version, each.found)
    return drawn


def fetcher(base: str) -> Fetch:
    """Read below a repository of a registry, by plain http."""
    # Settings for a proxy are not meant for a registry on this host.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def fetch(path: str) -> Any:
        url = f"{base}/{path}"
        request = urllib.request.Request(url, headers={"Accept": _ACCEPTED})  # noqa: S310 - http
        with direct.open(request, timeout=_ANSWER_SECONDS) as answer:
            return json.loads(answer.read())

    return fetch
