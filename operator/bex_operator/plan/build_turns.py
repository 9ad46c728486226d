"""Whose build begins next, when more are wanted than may run. Pure.

Room goes to the tenant with the fewest builds running; among those to the one that has waited
longest since its last turn; within a tenant to whoever waits longest. So beside a tenant that wants
a thousand builds another that wants one waits for a turn of each tenant, not for each build.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
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
class Turns:
    """Who waits since when, and who had a turn when; forgotten with the process.

    *app* is whatever tells Apps apart, *now* any clock's seconds.
    """

    limits: Limits
    _count: int = 0
    _waiting: dict[str, dict[App, float]] = field(default_factory=dict)
    """By tenant, who waits, longest first, and when each last asked."""
    _served: dict[str, int] = field(default_factory=dict)
    """When a tenant's last build began."""

    def wait(self, app: App, tenant: str, now: float) -> None:
        """Note that *app* wants a build; asking again keeps its place."""
        self._waiting.setdefault(tenant, {})[app] = now

    def leave(self, app: App, tenant: str) -> None:
        """Note that *app* wants none, or none any more."""
        queue = self._waiting.get(tenant, {})
        queue.pop(app, None)
        if not queue:
            self._waiting.pop(tenant, None)

    def began(self, app: App, tenant: str) -> None:
        """Note that a build of *app* begins."""
        self.leave(app, tenant)
        self._count += 1
        self._served[tenant] = self._count

    def next(self, running: Mapping[str, int], now: float) -> list[App]:
        """Name the Apps whose builds may begin, in order; *running* counts builds by tenant."""
        counts, served = Counter(running), dict(self._served)
        comers = {tenant: self._comers(tenant, now) for tenant in self._waiting}
        found: list[App] = []
        while counts.total() < self.limits.in_all:
            able = [each for each in comers if self._has_room(counts, each)]
            if not able:
                break
            tenant = min(able, key=lambda each: (counts[each], served.get(each, 0), each))
            app = next(comers[tenant], None)
            if app is None:
                del comers[tenant]
                continue
            found.append(app)
            counts[tenant] += 1
            served[tenant] = self._count + len(found)
        return found

    def may_begin(self, app: App, tenant: str, running: Mapping[str, int], now: float) -> bool:
        """Tell whether it is the turn of *app*, which waits from now on."""
        self.wait(app, tenant, now)
        return app in self.next(running, now)

    def _comers(self, tenant: str, now: float) -> Iterator[App]:
        """Name who waits, longest first. Nobody is looked at whom room cannot come to."""
        for app, asked in self._waiting[tenant].items():
            # Whoever has not asked for so long will not come, and must not stand in others' way.
            if now - asked < FORGET_SECONDS:
                yield app

    def _has_room(self, counts: Mapping[str, int], tenant: str) -> bool:
        return counts.get(tenant, 0) < self.limits.each
