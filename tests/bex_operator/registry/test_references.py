"""Image references, and which hosts an App may make the operator ask."""

import pytest

from bex_operator.registry import references


@pytest.mark.parametrize(
    ("image", "wanted"),
    [
        ("nginx", ("docker.io", "library/nginx", "latest", None)),
        ("team/web:2", ("docker.io", "team/web", "2", None)),
        ("docker.io/nginx:1", ("docker.io", "library/nginx", "1", None)),
        ("localhost:5050/bex/hello-go:1", ("localhost:5050", "bex/hello-go", "1", None)),
        ("ghcr.io/a/b/c", ("ghcr.io", "a/b/c", "latest", None)),
        ("a.io/b:1@sha256:" + "0" * 64, ("a.io", "b", "1", "sha256:" + "0" * 64)),
    ],
)
def test_reference_is_read_as_runtimes_do(
    image: str, wanted: tuple[str, str, str, str | None]
) -> None:
    """What is left out is Docker Hub's, `library/` and `latest`."""
    assert references.parse(image) == references.Reference(*wanted)


@pytest.mark.parametrize(
    ("host", "endpoint"),
    [
        ("docker.io", "https://registry-1.docker.io"),
        ("ghcr.io", "https://ghcr.io"),
        ("registry.example.com:5000", "https://registry.example.com:5000"),
        ("8.8.8.8", "https://8.8.8.8"),
    ],
)
def test_public_registry_is_asked_by_https(host: str, endpoint: str) -> None:
    """Anything else could be changed on its way."""
    assert references.endpoint_of(host) == endpoint


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:5050",
        "127.0.0.1:5000",
        "10.0.0.1",
        "192.168.1.1:443",
        "169.254.169.254",
        "127.1",
        "2130706433:80",
        "registry",
        "registry:5000",
        "kubernetes.default.svc",
        "a.svc.cluster.local",
        "metadata.google.internal",
        "x.localhost",
    ],
)
def test_inner_host_is_never_asked(host: str) -> None:
    """An App's image must not be a way to knock on doors inside the network."""
    assert references.endpoint_of(host) is None
