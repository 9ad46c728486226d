"""Whose build begins next, when more are wanted than may run. Pure.

Room goes to the tenant with the fewest builds running; among those to the one that has waited
longest since its last turn; within a tenant to whoever waits longest. So beside a tenant that wants
a thousand builds another that wants one waits for a turn of each tenant, not for each build.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

App = tuple[str, str]
FORGET_SECONDS = 100.0
"""Longer than an App takes to ask again."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How many builds may run at once."""

    in_all: int
    each: int
    """Of one tenant."""


@dataclass(slots=True)
class _Waiter:
    since: int
    tenant: str
    asked: float


@dataclass(slots=True)
class Turns:
    """Who waits since when, and who had a turn when; forgotten with the process.

    *app* is whatever tells Apps apart, *now* any clock's seconds.
    """

    limits: Limits
    _count: int = 0
    _waiting: dict[App, _Waiter] = field(default_factory=dict)
    _served: dict[str, int] = field(default_factory=dict)
    """When a tenant's last build began."""

    def wait(self, app: App, tenant: str, now: float) -> None:
        """Note that *app* wants a build; asking again keeps its place."""
        self._count += 1
        waiter = self._waiting.setdefault(app, _Waiter(self._count, tenant, now))
        waiter.asked = now

    def leave(self, app: App) -> None:
        """Note that *app* wants none, or none any more."""
        self._waiting.pop(app, None)

    def began(self, app: App, tenant: str) -> None:
        """Note that a build of *app* begins."""
        self.leave(app)
        self._count += 1
        self._served[tenant] = self._count

    def next(self, running: Mapping[str, int], now: float) -> list[App]:
        """Name the Apps whose builds may begin, in order; *running* counts builds by tenant."""
        left: dict[str, list[tuple[int, App]]] = {}
        for app, waiter in self._waiting.items():
            # Whoever has not asked for so long will not come, and must not stand in others' way.
            if now - waiter.asked < FORGET_SECONDS:
                left.setdefault(waiter.tenant, []).append((waiter.since, app))
        for queue in left.values():
            queue.sort(reverse=True)
        counts, served = Counter(running), dict(self._served)
        found: list[App] = []
        while counts.total() < self.limits.in_all:
            able = [each for each, queue in left.items() if queue and self._has_room(counts, each)]
            if not able:
                break
            tenant = min(able, key=lambda each: (counts[each], served.get(each, 0), each))
            found.append(left[tenant].pop()[1])
            counts[tenant] += 1
            served[tenant] = self._count + len(found)
        return found

    def may_begin(self, app: App, tenant: str, running: Mapping[str, int], now: float) -> bool:
        """Tell whether it is the turn of *app*, which waits from now on."""
        self.wait(app, tenant, now)
        return app in self.next(running, now)

    def _has_room(self, counts: Mapping[str, int], tenant: str) -> bool:
        return counts.get(tenant, 0) < self.limits.each
