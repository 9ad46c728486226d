"""Manifests as Pulumi resources."""

import pytest

from components import objects


@pytest.mark.parametrize(
    ("api_version", "kind", "token"),
    [
        ("v1", "Namespace", "kubernetes:core/v1:Namespace"),
        ("apps/v1", "Deployment", "kubernetes:apps/v1:Deployment"),
        (
            "rbac.authorization.k8s.io/v1",
            "ClusterRole",
            "kubernetes:rbac.authorization.k8s.io/v1:ClusterRole",
        ),
        ("app.bex.co/v1alpha1", "App", "kubernetes:app.bex.co/v1alpha1:App"),
    ],
)
def test_type_token_is_that_of_the_typed_class(api_version: str, kind: str, token: str) -> None:
    """The token is what the provider's own SDK sends for the kind."""
    assert objects.type_token(api_version, kind) == token


def test_type_token_agrees_with_the_sdk() -> None:
    """Kinds the program registers have the type of the SDK's own classes."""
    from pulumi_kubernetes.core.v1 import Namespace
    from pulumi_kubernetes.networking.v1 import IngressClass

    assert Namespace.pulumi_type == objects.type_token("v1", "Namespace")
    assert IngressClass.pulumi_type == objects.type_token("networking.k8s.io/v1", "IngressClass")
