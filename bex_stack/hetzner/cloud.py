"""The one seam to Hetzner's API: asks and changes through Hetzner's own client.

Everything that goes wrong there becomes one of our errors here, without the token in it.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

from bex_stack import errors
from bex_stack.hetzner import costs, observed
from bex_stack.hetzner.inventory import KINDS

ENDPOINT = "https://api.hetzner.cloud/v1"
CALL_SECONDS = 30.0
POLL_SECONDS = 1.0
ACTION_POLLS = 120

T = TypeVar("T")


class CloudError(errors.StackError):
    """Hetzner refused something or did not answer; the message says what and what mends it."""


class BadToken(CloudError):
    """There is no token, or Hetzner does not know it."""


class Cloud:
    """One project. Use it in a `with` block.

    Hetzner's client asks again by itself when a request was one too many or met a conflict.
    """

    def __init__(self, token: str, endpoint: str = ENDPOINT) -> None:
        import hcloud  # 0.1 s: only who asks Hetzner pays for it

        self._token, self._endpoint = token, endpoint
        self._client = hcloud.Client(
            token,
            endpoint,
            application_name="bex",
            poll_interval=POLL_SECONDS if endpoint == ENDPOINT else 0,
            poll_max_retries=ACTION_POLLS,
            timeout=CALL_SECONDS,
        )

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connection."""
        self._client._client._session.close()

    def look(self) -> observed.Project:
        """Look at everything that rules ask for.

        Raises:
            BadToken, CloudError: it cannot be looked at.
        """
        budget = self.budget()  # first: it is what a bad token or a spent budget shows in
        return observed.Project(
            things=self.things(),
            offers=list(self._offers()),
            images=[_image(each) for each in self._all("images")],
            balancer_targets={
                str(each.name): int(each.max_targets) for each in self._all("load_balancer_types")
            },
            locations={str(each.name): str(each.network_zone) for each in self._all("locations")},
            budget=budget,
            may_write=self._may_write(),
        )

    def things(self, kinds: tuple[str, ...] = KINDS) -> list[observed.Thing]:
        """List what the project holds, snapshots included and Hetzner's own images not."""
        return [
            _thing(kind, each)
            for kind in kinds
            for each in self._all(kind)
            if kind != "images" or each.type in ("snapshot", "backup")
        ]

    def prices(self) -> costs.PriceList:
        """Read the price list.

        Raises:
            CloudError: it has a shape we do not know.
        """
        answer = self._do("prices", lambda: self._client.request("GET", "/pricing"))
        try:
            return costs.read(answer)
        except (ValueError, KeyError) as other:
            raise CloudError(f"Hetzner's price list cannot be read: {other}") from other

    def budget(self) -> observed.Budget:
        """Ask how many requests are left; the client keeps the headers to itself.

        Raises:
            BadToken: Hetzner does not know the token.
        """
        import requests

        def asked() -> requests.Response:
            return requests.get(
                f"{self._endpoint}/locations",
                headers={"Authorization": f"Bearer {self._token}"},
                params={"per_page": 1},
                timeout=CALL_SECONDS,
            )

        answer = self._do("budget", asked)
        if answer.status_code == requests.codes.unauthorized:
            raise BadToken("hcloud:token: Hetzner does not know it; make one in its console")
        limit, remaining, reset = (
            int(answer.headers.get(f"RateLimit-{each}", 0))
            for each in ("Limit", "Remaining", "Reset")
        )
        if answer.status_code == requests.codes.too_many_requests:
            raise CloudError(
                f"API requests 0 of {limit}: this project's are spent; one more is given every "
                "second: wait some minutes, and see who else uses them"
            )
        return observed.Budget(limit, remaining, reset)

    def unprotect(self, thing: observed.Thing) -> None:
        """Let it be deleted from now on, and wait until that is so.

        Raises:
            CloudError: Hetzner refused it, or the action failed.
        """
        client = getattr(self._client, thing.kind)

        def deed() -> None:
            client.get_by_id(thing.id).change_protection(delete=False).wait_until_finished()

        self._do(f"protection of {thing}", deed)

    def _may_write(self) -> bool:
        """Ask for an SSH key without a name or a key: refused either way, and how tells.

        Nothing can come of it. A token that may only read is told so (`token_readonly`).
        """
        try:
            self._do("permission", lambda: self._client.request("POST", "/ssh_keys", json={}))
        except CloudError as refused:
            return "token_readonly" not in str(refused)
        return True

    def _offers(self) -> Iterator[observed.Offer]:
        for each in self._all("server_types"):
            for place in each.locations or ():
                gone = place.deprecation.unavailable_after if place.deprecation else None
                yield observed.Offer(
                    type=str(each.name),
                    location=str(place.location.name),
                    architecture=str(each.architecture),
                    available=place.available is not False,
                    gone_after=gone.date().isoformat() if gone else None,
                )

    def _all(self, kind: str) -> list[Any]:
        client = getattr(self._client, kind)
        return self._do(kind, client.get_all)

    def _do(self, what: str, deed: Callable[[], T]) -> T:
        with _as_ours(what):
            return deed()


@contextmanager
def _as_ours(what: str) -> Iterator[None]:
    """Turn the client's and its HTTP library's errors into ours; they carry no header."""
    import hcloud
    import requests
    from hcloud import actions

    try:
        yield
    except hcloud.APIException as refused:
        if refused.code == "unauthorized":
            raise BadToken("hcloud:token: Hetzner does not know it") from None
        raise CloudError(f"Hetzner, {what}: {refused.message} ({refused.code})") from None
    except actions.ActionException as failed:
        raise CloudError(f"Hetzner, {what}: {failed}") from None
    except requests.RequestException as silent:
        kind = type(silent).__name__
        raise CloudError(f"Hetzner, {what}: no answer ({kind}); try again") from None


def _thing(kind: str, each: Any) -> observed.Thing:
    text = getattr(each.data_model, "public_key", None) or ""
    if kind == "images":
        text = each.description or ""
    protection: Mapping[str, Any] = getattr(each.data_model, "protection", None) or {}
    return observed.Thing(
        kind=kind,
        id=int(each.id),
        name=str(each.name or text or each.id),
        labels=dict(each.labels or {}),
        protected=bool(protection.get("delete")),
        members=tuple(each.servers) if kind == "placement_groups" else (),
        text=text,
    )


def _image(each: Any) -> observed.Image:
    return observed.Image(
        id=int(each.id),
        name=each.name,
        description=each.description or "",
        labels=dict(each.labels or {}),
        status=str(each.status),
        architecture=str(each.architecture),
        size_gb=each.image_size,
    )
