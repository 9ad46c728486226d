"""What the feeder counts, and whether it is ready."""

import prometheus_client

from bex_operator.plan import edge


class Health:
    """Counters of one feeder; the feeder calls a method for each thing that happens."""

    def __init__(self) -> None:
        self.registry = prometheus_client.CollectorRegistry()
        self.is_ready = False
        """Whether Caddy has once held all that the cluster wants."""
        self._hosts = self._gauge("bex_edge_hosts", "Hosts that have a route")
        self._pods = self._gauge("bex_edge_pods", "Addresses of ready pods in all pools")
        self._refused = self._gauge("bex_edge_refused_hosts", "Hosts of Ingresses without a route")
        self._up = self._gauge("bex_edge_caddy_up", "1 while Caddy answers on its admin socket")
        self._loads = self._counter("bex_edge_loads", "Configurations loaded into Caddy")
        self._replaced = self._counter("bex_edge_updates", "Tables sent into Caddy without a load")
        self._failures = self._counter("bex_edge_refusals", "What Caddy refused to take")
        self._seconds = self._gauge("bex_edge_last_load_seconds", "How long the last load took")

    def decided(self, routes: edge.Routes) -> None:
        """Count what the cluster wants."""
        self._hosts.set(len(routes.hosts))
        self._pods.set(sum(len(pool.addresses) for pool in routes.pools))
        self._refused.set(len(routes.refusals))

    def loaded(self, seconds: float) -> None:
        """Count a configuration that Caddy took."""
        self._loads.inc()
        self._seconds.set(seconds)

    def replaced(self) -> None:
        """Count a table that Caddy took."""
        self._replaced.inc()

    def failed(self) -> None:
        """Count something that Caddy refused."""
        self._failures.inc()

    def in_step(self, *, is_whole: bool) -> None:
        """Note that Caddy answered; *is_whole*: it holds all it was sent."""
        self._up.set(1)
        self.is_ready = self.is_ready or is_whole

    def lost(self) -> None:
        """Note that Caddy does not answer."""
        self._up.set(0)

    def text(self) -> bytes:
        """Render everything in the text format."""
        return prometheus_client.generate_latest(self.registry)

    def _gauge(self, name: str, text: str) -> prometheus_client.Gauge:
        return prometheus_client.Gauge(name, text, registry=self.registry)

    def _counter(self, name: str, text: str) -> prometheus_client.Counter:
        return prometheus_client.Counter(name, text, registry=self.registry)
