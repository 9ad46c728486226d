"""The program of a stack whose machines are Docker containers."""

from collections.abc import Sequence
from typing import Any

import pulumi

from bex_operator import api
from bex_stack import cluster_api_program as shared
from bex_stack import settings_cluster_api as models
from components import infra_cluster, operator_image, pins, registry, traefik
from components.manifests import capd, charts, issuers, shapes, storage, zot

DOMAIN = "localhost"
"""Names under it lead to this host without any DNS."""


def deploy(stack: models.CapdSettings, apps: Sequence[api.App]) -> None:
    """Describe the stack."""
    lock = shared.lock_of(stack, apps)
    infra = shared.infra_cluster_on(stack, _kind(stack, lock))
    keys = None if stack.registry_url else shared.registry_keys()
    platform = _platform(stack, lock, keys)
    clusters = shared.clusters_of(stack, infra, overlay(stack, lock), platform)
    held, image = _registry(stack, clusters, lock, keys)
    domain = stack.base_domain or DOMAIN
    # Whose edge it is, theirs are the certificates.
    issuer = issuers.AUTHORITY if stack.platform == "charts" else ""
    options = shared.operator_options(
        _public_url(stack), domain, _registry_url(stack), issuer=issuer
    )
    # The operator's own machine is the one a scale-down never takes.
    pod = shared.pod_of(image, options, on_control_plane=True, replicas=stack.control_planes)
    building = None
    told = shared.builds_of(stack, registry.CONTAINER_FOR_BUILDS)
    if told is not None and keys is not None:
        address = held[0].builds_address.apply(lambda found: f"{found}/32")
        building = shared.Building(told, keys.signer.private, [(address, zot.BUILDS_PORT)])
    after = [*held, *_edge(stack, clusters, lock)]
    shared.app_layer(clusters, pod, apps, after, building)
    shared.autoscaler_of(stack, clusters, lock)
    pulumi.export("kubeconfig", clusters.apps.kubeconfig)
    pulumi.export("registry", stack.registry_url or registry.endpoint(stack.registry_port))
    urls = {app.name: _url(stack, app, domain) for app in apps}
    pulumi.export("apps", urls)


def overlay(stack: models.CapdSettings, lock: pins.Lock) -> list[shapes.Manifest]:
    """Render Cluster API's objects for *stack*."""
    return capd.render(
        capd.Overlay(
            cluster=shared.cluster_of(stack, capd.CLUSTER_KIND),
            node_image=_node_image(stack, lock),
            load_balancer_image=stack.load_balancer_image
            or shared.on_docker(stack, pins.LOAD_BALANCER.reference),
            registry_url=_registry_url(stack),
            mirror=shared.mirror_of(stack),
            workers=None if stack.is_autoscaled else stack.workers,
            workers_min=stack.workers_min,
            workers_max=stack.workers_max,
            login="" if stack.registry_url else shared.LOGIN,
        )
    )


def _node_image(stack: models.CapdSettings, lock: pins.Lock) -> str:
    if stack.node_image:
        return stack.node_image
    return shared.on_docker(stack, lock.reference(pins.NODE_IMAGES[stack.kubernetes_version]))


def _kind(stack: models.CapdSettings, lock: pins.Lock) -> pulumi.Output[str] | None:
    if stack.cluster_api == "existing":
        return None
    args = infra_cluster.KindClusterArgs(_node_image(stack, lock))
    return infra_cluster.KindCluster("infra", args).kubeconfig


def _platform(
    stack: models.CapdSettings, lock: pins.Lock, keys: shared.RegistryKeys | None
) -> shared.Platform:
    secrets = [] if keys is None else [keys.login(registry.MACHINE_URL)]
    where = charts.ON_CONTROL_PLANE
    network = charts.pod_network(stack.cni, stack.pod_network, private=False)
    networks = [network] if network else []
    if stack.platform == "none":
        return shared.Platform(
            networks, secrets=secrets, load_balancer=capd.load_balancer(stack.cluster_name)
        )
    return shared.Platform(
        charts=[
            *networks,
            charts.csr_approver(stack.cluster_name, where),
            charts.metrics_server(where),
        ],
        storage=storage.render(
            lock.reference(pins.LOCAL_PATH), lock.reference(pins.LOCAL_PATH_WORKER)
        ),
        secrets=secrets,
        load_balancer=capd.load_balancer(stack.cluster_name),
    )


def _registry(
    stack: models.CapdSettings,
    clusters: shared.Clusters,
    lock: pins.Lock,
    keys: shared.RegistryKeys | None,
) -> tuple[list[registry.LocalRegistry], Any]:
    """Register registry and operator image; return the registry and how the image is named."""
    if keys is None:
        return [], stack.operator_image
    args = registry.RegistryArgs(
        image=stack.registry_image or shared.on_docker(stack, lock.reference(pins.ZOT)),
        htpasswd=keys.htpasswd,
        signer=keys.signer.public,
        port=stack.registry_port,
    )
    # The Docker network is kind's.
    after = pulumi.ResourceOptions(depends_on=[clusters.infra])
    held = registry.LocalRegistry("registry", args, after)
    if stack.operator_image:
        return [held], stack.operator_image
    built = operator_image.OperatorImage(
        "operator-image",
        operator_image.OperatorImageArgs(
            ".",
            held.endpoint,
            keys.push.password,
            build_image=shared.on_docker(stack, lock.reference(pins.OPERATOR_BUILD)),
            runtime_image=shared.on_docker(stack, lock.reference(pins.OPERATOR_RUNTIME)),
        ),
        pulumi.ResourceOptions(depends_on=[held]),
    )
    return [held], built.reference


def _edge(
    stack: models.CapdSettings, clusters: shared.Clusters, lock: pins.Lock
) -> list[traefik.Traefik]:
    if stack.platform == "none":
        return []
    address = clusters.apps.address
    names = [DOMAIN, f"*.{DOMAIN}", address.apply(lambda ip: f"*.{ip}.sslip.io")]
    made = traefik.Traefik(
        "edge",
        traefik.TraefikArgs(
            traefik=charts.traefik_on_host(),
            cert_manager=charts.cert_manager(charts.ON_CONTROL_PLANE),
            issuers=issuers.local_authority(names),
            folder=shared.folder_of(stack),
        ),
        clusters.on_apps,
    )
    traefik.Forwarder(
        "edge-ports",
        traefik.ForwarderArgs(
            image=stack.load_balancer_image
            or shared.on_docker(stack, lock.reference(pins.LOAD_BALANCER)),
            address=address,
            http_port=stack.edge_http_port,
            https_port=stack.edge_https_port,
        ),
        pulumi.ResourceOptions(depends_on=[clusters.apps]),
    )
    return [made]


def _registry_url(stack: models.CapdSettings) -> str:
    """Say where machines reach the registry."""
    return stack.registry_url or registry.MACHINE_URL


def _public_url(stack: models.CapdSettings) -> str:
    """Say where a host answers; an edge of somebody else's has the usual port."""
    return "http://{host}" + (f":{stack.edge_http_port}" if stack.platform == "charts" else "")


def _url(stack: models.CapdSettings, app: api.App, domain: str) -> str:
    host = api.main_host_of(app, domain)
    if host is None:
        return f"http://{app.name}.{api.NAMESPACE}.svc:{app.port}"
    return _public_url(stack).format(host=host)
