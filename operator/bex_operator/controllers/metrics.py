"""What the operator counts about itself, in a registry of its own."""

import prometheus_client as prometheus

_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Counters and gauges; one instance per process."""

    def __init__(self) -> None:
        self.registry = prometheus.CollectorRegistry()
        self.reconciles = prometheus.Histogram(
            "bex_reconcile_seconds",
            "Time of one reconcile.",
            registry=self.registry,
            buckets=_SECONDS,
        )
        self.failures = prometheus.Counter(
            "bex_reconcile_errors", "Failed reconciles.", ["error"], registry=self.registry
        )
        self.writes = prometheus.Counter(
            "bex_writes", "Writes to the API server.", ["verb", "kind"], registry=self.registry
        )
        self.queue_depth = prometheus.Gauge(
            "bex_queue_depth", "Apps that wait for a worker.", registry=self.registry
        )
        self.cached = prometheus.Gauge(
            "bex_cached_objects", "Objects in a cache.", ["kind"], registry=self.registry
        )
        self.lag = prometheus.Gauge(
            "bex_watch_lag_seconds",
            "How long a watch took to tell of the last own write that it told of.",
            ["kind"],
            registry=self.registry,
        )
        self.leading = prometheus.Gauge(
            "bex_leading", "1 while this process acts.", registry=self.registry
        )
        self.registry_used = prometheus.Gauge(
            "bex_registry_used_bytes", "What the registry holds.", registry=self.registry
        )
        self.registry_free = prometheus.Gauge(
            "bex_registry_free_bytes", "Room on the registry's disk.", registry=self.registry
        )
        self.registry_capacity = prometheus.Gauge(
            "bex_registry_capacity_bytes", "Size of the registry's disk.", registry=self.registry
        )
        self.registry_freed = prometheus.Counter(
            "bex_registry_freed_bytes", "Freed by letting images go.", registry=self.registry
        )

    def text(self) -> bytes:
        """Render everything in the text format."""
        return prometheus.generate_latest(self.registry)
