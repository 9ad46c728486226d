"""The program of a stack whose machines are Hetzner Cloud servers."""

from collections.abc import Sequence

import pulumi

from bex_operator import api
from bex_stack import cluster_api_program as shared
from bex_stack import settings
from bex_stack import settings_cluster_api as models
from bex_stack.hetzner import guard, inventory
from components import hetzner_infra, pins, registry, server_types, traefik
from components.manifests import caph, charts, issuers, shapes


def deploy(stack: models.CaphSettings, apps: Sequence[api.App]) -> None:
    """Describe the stack."""
    lock = shared.lock_of(stack, apps)
    guard.check_program(inventory.of(stack, pulumi.get_stack(), overlay(stack)))
    infra = shared.infra_cluster_on(stack, _day_0(stack, lock))
    keys = shared.registry_keys()
    platform = _platform(stack, keys)
    clusters = shared.clusters_of(stack, infra, caph.render(overlay(stack)), platform)
    held = registry.ClusterRegistry(
        "registry",
        registry.RegistryArgs(
            image=lock.reference(pins.ZOT), htpasswd=keys.htpasswd, signer=keys.signer.public
        ),
        clusters.on_apps,
    )
    front, balancer = _edge(stack, clusters)
    options = shared.operator_options(
        "https://{host}",
        stack.base_domain,
        f"http://{held.endpoint}",
        issuer=issuers.lets_encrypt_name(stack.acme_issuer),
    )
    image = stack.operator_image or "bex-operator:not-set"
    pod = shared.pod_of(image, options, on_control_plane=False, replicas=2)
    building = _building(stack, keys)
    shared.app_layer(clusters, pod, apps, [held, front], building)
    shared.autoscaler_of(stack, clusters, lock)
    pulumi.export("kubeconfig", clusters.apps.kubeconfig)
    pulumi.export("infraKubeconfig", infra.kubeconfig)
    pulumi.export("registry", held.endpoint)
    pulumi.export("edgeAddress", balancer.address)
    pulumi.export("apps", {app.name: _url(stack, app) for app in apps})


def _building(stack: models.CaphSettings, keys: shared.RegistryKeys) -> shared.Building | None:
    """Build on the machines that are made for it, where there may be any."""
    has_pool = stack.build_machines_max > 0
    told = shared.builds_of(
        stack,
        registry.CLUSTER_FOR_BUILDS,
        node_selector={caph.POOL_LABEL: caph.BUILD_POOL} if has_pool else {},
        taint=caph.BUILD_TAINT.key if has_pool else "",
    )
    return None if told is None else shared.Building(told, keys.signer.private)


def overlay(stack: models.CaphSettings) -> caph.Overlay:
    """Turn settings into what the overlay depends on."""
    fallback = (stack.fallback_server_type, stack.fallback_location)
    return caph.Overlay(
        cluster=shared.cluster_of(stack, caph.CLUSTER_KIND),
        location=stack.location,
        image=stack.image,
        ssh_key=stack.cluster_name,
        load_balancer_type=stack.load_balancer_type,
        control_plane_type=stack.control_plane_server_type,
        platform=(stack.platform_server_type, stack.platform_machines),
        workers=(
            stack.worker_server_type,
            None if stack.is_autoscaled else stack.workers,
            stack.workers_min,
            stack.workers_max,
        ),
        builds=(stack.build_server_type, stack.build_machines_max),
        fallback=fallback if stack.fallback_location else None,
        mirror=shared.mirror_of(stack),
        login=shared.LOGIN,
    )


def _day_0(stack: models.CaphSettings, lock: pins.Lock) -> pulumi.Output[str] | None:
    if stack.cluster_api == "existing":
        return None
    day_0 = hetzner_infra.HetznerInfra(
        "infra",
        hetzner_infra.HetznerInfraArgs(
            stack=pulumi.get_stack(),
            cluster_name=stack.cluster_name,
            location=stack.location,
            network_zone=server_types.NETWORK_ZONES[stack.location],
            server_type=stack.infra_server_type,
            ssh_public_key=stack.ssh_public_key,
            ssh_private_key_file=stack.ssh_private_key_file,
            admin_addresses=stack.admin_addresses,
            k3s_sha256=lock.sha256(pins.K3S_BINARY),
            known_hosts=f"{models.KUBECONFIGS}/{pulumi.get_stack()}/known_hosts",
        ),
    )
    return day_0.kubeconfig


def _platform(stack: models.CaphSettings, keys: shared.RegistryKeys) -> shared.Platform:
    where = charts.ON_PLATFORM
    network = charts.pod_network(stack.cni, stack.pod_network, private=True)
    token: shapes.Manifest = caph.secret(settings.hetzner_token())
    return shared.Platform(
        charts=[
            # The cloud's controller first: nodes stay tainted until it has seen them.
            charts.cloud_controller_manager(stack.cluster_name, stack.pod_network),
            *([network] if network else []),
            charts.csr_approver(stack.cluster_name, where),
            charts.csi_driver({inventory.STACK_LABEL: pulumi.get_stack()}),
            charts.metrics_server(where),
        ],
        secrets=[token, keys.login(caph.REGISTRY_URL)],
    )


def _edge(
    stack: models.CaphSettings, clusters: shared.Clusters
) -> tuple[traefik.Traefik, hetzner_infra.EdgeBalancer]:
    certificates = issuers.lets_encrypt(stack.acme_email)
    if stack.base_domain:
        name = issuers.lets_encrypt_name(stack.acme_issuer)
        certificates.append(issuers.edge_certificate([stack.base_domain], name))
    made = traefik.Traefik(
        "edge",
        traefik.TraefikArgs(
            traefik=charts.traefik_behind_balancer(hetzner_infra.BALANCER_NETWORK),
            cert_manager=charts.cert_manager(charts.ON_PLATFORM),
            issuers=certificates,
            folder=shared.folder_of(stack),
        ),
        clusters.on_apps,
    )
    balancer = hetzner_infra.EdgeBalancer(
        "edge-balancer",
        hetzner_infra.EdgeBalancerArgs(
            stack=pulumi.get_stack(),
            cluster_name=stack.cluster_name,
            location=stack.location,
            type=stack.load_balancer_type,
            reached=clusters.apps.address,
        ),
    )
    return made, balancer


def _url(stack: models.CaphSettings, app: api.App) -> str:
    host = api.main_host_of(app, stack.base_domain)
    return f"https://{host}" if host else f"http://{app.name}.{api.NAMESPACE}.svc:{app.port}"
