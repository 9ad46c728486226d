"""Which pods answer for which host."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bex_operator.plan import edge

Object = dict[str, Any]


def make_ingress(*hosts: str, name: str = "hello", created: int = 0, **changes: Any) -> Object:
    """Make an Ingress that sends its hosts to port 80 of the Service of the same name."""
    path = {"path": "/", "pathType": "Prefix", "backend": make_backend(name)} | changes
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {
            "name": name,
            "namespace": "bex-apps",
            "creationTimestamp": f"2026-01-01T00:00:{created:02}Z",
        },
        "spec": {
            "ingressClassName": "bex",
            "rules": [{"host": host, "http": {"paths": [path]}} for host in hosts],
        },
    }


def make_backend(name: str = "hello", **port: Any) -> Object:
    """Make an Ingress backend."""
    return {"service": {"name": name, "port": port or {"number": 80}}}


def make_service(name: str = "hello", **port: Any) -> Object:
    """Make a Service with one port."""
    return {
        "metadata": {"name": name, "namespace": "bex-apps"},
        "spec": {"ports": [{"name": "http", "port": 80, "targetPort": "web"} | port]},
    }


def make_slice(*addresses: str, service: str = "hello", **changes: Any) -> Object:
    """Make an EndpointSlice with one ready endpoint for each address."""
    return {
        "metadata": {
            "name": f"{service}-{'-'.join(addresses)}",
            "namespace": "bex-apps",
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080}],
        "endpoints": [make_endpoint(address) for address in addresses],
    } | changes


def make_endpoint(address: str, **conditions: bool | None) -> Object:
    """Make an endpoint that is ready unless *conditions* say otherwise."""
    ready = {"ready": True, "serving": True, "terminating": False}
    return {"addresses": [address], "conditions": ready | conditions}


def addresses(*slices: Object, service: Object | None = None) -> tuple[str, ...]:
    """Plan one host and return the addresses behind it."""
    routes = edge.plan([make_ingress("h.localhost")], [service or make_service()], slices)
    return routes.pools[0].addresses


def test_plan_resolves_a_host_to_pod_addresses() -> None:
    """A host leads to its Service's ready pods, at the port they listen on."""
    routes = edge.plan(
        [make_ingress("hello.localhost")],
        [make_service()],
        [make_slice("10.244.2.2"), make_slice("10.244.1.2", "10.244.1.3")],
    )

    pool = "bex-apps/hello:80"
    assert routes == edge.Routes(
        hosts=(edge.Host("hello.localhost", (edge.Path("/", False, pool),)),),
        pools=(edge.Pool(pool, ("10.244.1.2:8080", "10.244.1.3:8080", "10.244.2.2:8080")),),
    )


@pytest.mark.parametrize(
    ("conditions", "answers"),
    [
        ({}, True),
        ({"ready": None, "serving": None, "terminating": None}, True),
        ({"ready": False}, False),
        ({"ready": True, "serving": False}, False),
        ({"ready": True, "terminating": True}, False),
        ({"ready": False, "serving": True, "terminating": True}, False),
    ],
    ids=["ready", "unset", "unready", "not-serving", "terminating", "draining"],
)
def test_plan_takes_pods_that_are_ready_and_stay(conditions: Object, answers: bool) -> None:
    """Only pods that are ready, serving and not on their way out get requests."""
    found = addresses(make_slice(endpoints=[make_endpoint("10.244.1.2", **conditions)]))

    assert found == (("10.244.1.2:8080",) if answers else ())


def test_plan_knows_a_host_without_pods() -> None:
    """A Service that is missing, or has no such port, leaves the host known and empty."""
    nameless = make_backend(name="hello", name_="x")
    for services in ([], [make_service(port=81)], [make_service("other")]):
        routes = edge.plan([make_ingress("h.localhost")], services, [make_slice("10.244.1.2")])

        assert [host.name for host in routes.hosts] == ["h.localhost"]
        assert [pool.addresses for pool in routes.pools] == [()]
    routes = edge.plan([make_ingress("h.localhost", backend=nameless)], [make_service()], [])
    assert [pool.addresses for pool in routes.pools] == [()]


def test_plan_never_follows_an_external_name() -> None:
    """An ExternalName Service would let an App reach whatever the edge's machine can."""
    service = make_service()
    service["spec"] |= {"type": "ExternalName", "externalName": "localhost"}

    assert addresses(make_slice("10.244.1.2"), service=service) == ()


def test_plan_finds_a_port_by_name_and_its_protocol() -> None:
    """A named port means the port of that name; gRPC pods are spoken to in h2c."""
    ingress = make_ingress("h.localhost", backend=make_backend(name="hello"))
    ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["port"] = {"name": "grpc"}
    service = make_service(name="hello")
    grpc = {"name": "grpc", "port": 90, "appProtocol": "kubernetes.io/h2c"}
    service["spec"]["ports"] = [{"name": "http", "port": 80}, grpc]
    ports = [{"name": "http", "port": 8080}, {"name": "grpc", "port": 9090}]

    routes = edge.plan([ingress], [service], [make_slice("10.244.1.2", ports=ports)])

    assert routes.hosts[0].paths == (edge.Path("/", False, "bex-apps/hello:90", "h2c"),)
    assert routes.pools == (edge.Pool("bex-apps/hello:90", ("10.244.1.2:9090",)),)


def test_plan_reads_nameless_ports_and_ipv6() -> None:
    """A Service with a single port need not name it; IPv6 addresses get their brackets."""
    service = make_service()
    del service["spec"]["ports"][0]["name"]
    slice_ = make_slice("fd00::2", addressType="IPv6", ports=[{"name": "", "port": 8080}])

    assert addresses(slice_, service=service) == ("[fd00::2]:8080",)


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "224.0.0.1", "pod-1", "::1"])
def test_plan_sends_nothing_to_the_hosts_own_addresses(address: str) -> None:
    """Addresses that no pod can have are left out, and cost the others nothing."""
    assert addresses(make_slice(address, "10.244.1.2")) == ("10.244.1.2:8080",)


def test_plan_ignores_what_is_not_its_own() -> None:
    """Other Ingress classes, foreign slices, other namespaces and DNS endpoints count nothing."""
    foreign = make_ingress("other.localhost", name="other")
    foreign["spec"]["ingressClassName"] = "nginx"
    elsewhere = make_slice("10.244.9.9")
    elsewhere["metadata"]["namespace"] = "default"
    named = make_slice("pod.example", addressType="FQDN")

    routes = edge.plan(
        [foreign, make_ingress("h.localhost")],
        [make_service()],
        [elsewhere, named, make_slice("10.244.1.2", service="other")],
    )

    assert [host.name for host in routes.hosts] == ["h.localhost"]
    assert routes.pools == (edge.Pool("bex-apps/hello:80", ()),)


def test_plan_orders_paths_as_they_are_tried() -> None:
    """Exact paths first, then the longest prefix; a trailing slash of a prefix means nothing."""
    ingress = make_ingress("h.localhost")
    asked = [
        ("/", "Prefix"),
        ("/a/", "Prefix"),
        ("/a/b", "ImplementationSpecific"),
        ("/x", "Exact"),
    ]
    ingress["spec"]["rules"][0]["http"]["paths"] = [
        {"path": path, "pathType": kind, "backend": make_backend()} for path, kind in asked
    ]

    (host,) = edge.plan([ingress], [make_service()], []).hosts

    assert [(path.path, path.is_exact) for path in host.paths] == [
        ("/x", True),
        ("/a/b", False),
        ("/a", False),
        ("/", False),
    ]


def test_plan_gives_a_host_to_the_ingress_created_first() -> None:
    """The later Ingress is refused the host, however it writes it, and keeps its others."""
    first = make_ingress("h.localhost", name="z-first", created=1)
    later = make_ingress("H.localhost.", "own.localhost", name="a-later", created=2)

    routes = edge.plan([later, first], [], [])

    assert {host.name: host.paths[0].pool for host in routes.hosts} == {
        "h.localhost": "bex-apps/z-first:80?",
        "own.localhost": "bex-apps/a-later:80?",
    }
    (refusal,) = routes.refusals
    assert (refusal.ingress, refusal.host) == ("bex-apps/a-later", "h.localhost")
    assert "bex-apps/z-first" in refusal.reason


@pytest.mark.parametrize("host", ["", "a b", "{env.home}", "-a.b", "a..b", "*", "a.*.b", "x" * 254])
def test_plan_refuses_what_is_no_host(host: str) -> None:
    """A rule without a usable host gets no route, and says so."""
    routes = edge.plan([make_ingress(host)], [make_service()], [])

    assert routes.hosts == ()
    assert [refusal.host for refusal in routes.refusals] == [host]


def test_plan_puts_wildcards_last() -> None:
    """A host of its own goes before a wildcard that covers it."""
    routes = edge.plan([make_ingress("*.example.com", "z.example.com")], [], [])

    assert [host.name for host in routes.hosts] == ["z.example.com", "*.example.com"]


names = st.sampled_from(["a", "b", "c"])
hosts = st.lists(st.sampled_from(["a.localhost", "B.localhost", "*.x.org", "b.localhost."]))
ingresses = st.builds(
    lambda wanted, name, created: make_ingress(*wanted, name=name, created=created),
    hosts,
    names,
    st.integers(0, 3),
)
slices = st.builds(
    lambda wanted, name: make_slice(*wanted, service=name),
    st.lists(st.sampled_from(["10.244.1.2", "10.244.1.3", "10.244.2.2"]), unique=True),
    names,
)


def by_name(objects: list[Object]) -> list[Object]:
    """Keep one object of each name, as an API server does."""
    return list({each["metadata"]["name"]: each for each in objects}.values())


@given(st.lists(ingresses).map(by_name), st.lists(slices).map(by_name), st.randoms())
def test_plan_does_not_depend_on_order(
    ingresses: list[Object], slices: list[Object], random: Any
) -> None:
    """Equal objects give equal routes in whatever order they come, and stay as they were."""
    services = [make_service(name) for name in "abc"]
    before = copy.deepcopy((ingresses, services, slices))
    routes = edge.plan(ingresses, services, slices)

    assert (ingresses, services, slices) == before
    for objects in (ingresses, services, slices):
        random.shuffle(objects)
    assert edge.plan(ingresses, services, slices) == routes


@given(st.lists(ingresses).map(by_name))
def test_plan_gives_every_host_one_owner(ingresses: list[Object]) -> None:
    """Each host that is asked for is routed once, and each path's pool is there."""
    routes = edge.plan(ingresses, [], [])

    asked = {rule["host"].lower().rstrip(".") for i in ingresses for rule in i["spec"]["rules"]}
    assert [host.name for host in routes.hosts] == sorted(
        asked, key=lambda name: (name.startswith("*"), name)
    )
    pools = {pool.name for pool in routes.pools}
    assert {path.pool for host in routes.hosts for path in host.paths} == pools
