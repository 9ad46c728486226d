"""Day 0 at Hetzner: what is there before any cluster, made by nothing but the cloud's own API."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from components import pins
from components.dynamic import kubeconfigs
from components.manifests import caph, charts, infra_server

NETWORK = "10.20.0.0/16"
SUBNET = "10.20.0.0/24"
EVERYWHERE = ("0.0.0.0/0", "::/0")
SSH_PORT, API_PORT = "22", "6443"


@dataclass(frozen=True, slots=True)
class HetznerInfraArgs:
    """What day 0 depends on."""

    stack: str
    cluster_name: str
    location: str
    network_zone: str
    server_type: str
    ssh_public_key: str
    ssh_private_key_file: str
    admin_addresses: Sequence[str]
    """Networks that reach SSH and the infra API; nobody without any."""
    k3s_sha256: str | None
    known_hosts: str


class HetznerInfra(pulumi.ComponentResource):
    """SSH key, network, firewalls, placement group and the infra server with its kubeconfig."""

    kubeconfig: pulumi.Output[str]
    ssh_key: pulumi.Output[str]
    """Name of the key in the Hetzner project."""

    def __init__(
        self, name: str, args: HetznerInfraArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("bex:components:HetznerInfra", name, None, opts)
        import pulumi_hcloud as hcloud

        child, labels = pulumi.ResourceOptions(parent=self), {"bex-stack": args.stack}
        key = hcloud.SshKey(
            f"{name}-key",
            name=args.cluster_name,
            public_key=args.ssh_public_key,
            labels=labels,
            opts=child,
        )
        self.ssh_key = key.name
        subnet = self._network(name, args, labels)
        firewall = hcloud.Firewall(
            f"{name}-firewall",
            name=f"{args.cluster_name}-infra",
            rules=_rules(args.admin_addresses, (SSH_PORT, API_PORT)),
            labels=labels,
            opts=child,
        )
        # Machines of the app cluster are Cluster API's; the firewall finds them by CAPH's label.
        hcloud.Firewall(
            f"{name}-machines-firewall",
            name=f"{args.cluster_name}-machines",
            rules=_rules(args.admin_addresses, (SSH_PORT,)),
            apply_tos=[{"label_selector": f"caph-cluster-{args.cluster_name}"}],
            labels=labels,
            opts=child,
        )
        address = hcloud.PrimaryIp(
            f"{name}-address",
            name=f"{args.cluster_name}-infra",
            type="ipv4",
            assignee_type="server",
            location=args.location,
            auto_delete=False,
            labels=labels,
            opts=child,
        )
        server = self._server(name, args, labels, (firewall, address, subnet, key))
        reached = kubeconfigs.RemoteKubeconfig(
            f"{name}-kubeconfig",
            server=server.id,
            address=address.ip_address,
            key_file=args.ssh_private_key_file,
            known_hosts=args.known_hosts,
            opts=child,
        )
        self.kubeconfig = pulumi.Output.secret(reached.kubeconfig)
        self.register_outputs({"kubeconfig": self.kubeconfig})

    def _network(self, name: str, args: HetznerInfraArgs, labels: dict[str, str]) -> Any:
        import pulumi_hcloud as hcloud

        network = hcloud.Network(
            f"{name}-network",
            name=f"{args.cluster_name}-infra",
            ip_range=NETWORK,
            labels=labels,
            opts=pulumi.ResourceOptions(parent=self),
        )
        return hcloud.NetworkSubnet(
            f"{name}-subnet",
            network_id=network.id.apply(int),
            type="cloud",
            network_zone=args.network_zone,
            ip_range=SUBNET,
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _server(
        self,
        name: str,
        args: HetznerInfraArgs,
        labels: dict[str, str],
        parts: tuple[Any, Any, Any, Any],
    ) -> Any:
        import pulumi_hcloud as hcloud

        firewall, address, subnet, key = parts
        group = hcloud.PlacementGroup(
            f"{name}-placement-0",
            name=f"{args.cluster_name}-infra-0",
            type="spread",
            labels=labels,
            opts=pulumi.ResourceOptions(parent=self),
        )
        return hcloud.Server(
            f"{name}-server",
            name=f"{args.cluster_name}-infra-0",
            server_type=args.server_type,
            image=pins.CLOUD_IMAGES["infra"],
            location=args.location,
            ssh_keys=[key.id],
            firewall_ids=[firewall.id.apply(int)],
            placement_group_id=group.id.apply(int),
            public_nets=[
                {"ipv4_enabled": True, "ipv4": address.id.apply(int), "ipv6_enabled": True}
            ],
            networks=[{"network_id": subnet.network_id}],
            user_data=address.ip_address.apply(
                lambda ip: infra_server.user_data(pins.K3S_BINARY.url, args.k3s_sha256, ip)
            ),
            labels=labels,
            opts=pulumi.ResourceOptions(
                parent=self, depends_on=[subnet], delete_before_replace=True
            ),
        )


@dataclass(frozen=True, slots=True)
class EdgeBalancerArgs:
    """The edge's load balancer and what is behind it."""

    stack: str
    cluster_name: str
    location: str
    type: str
    reached: pulumi.Input[str]
    """Known once the app cluster answers; before, CAPH's network is not there."""


class EdgeBalancer(pulumi.ComponentResource):
    """A load balancer that is protected: its address is in people's DNS."""

    address: pulumi.Output[str]

    def __init__(
        self, name: str, args: EdgeBalancerArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("bex:components:EdgeBalancer", name, None, opts)
        import pulumi_hcloud as hcloud

        child = pulumi.ResourceOptions(parent=self)
        balancer = hcloud.LoadBalancer(
            f"{name}-balancer",
            name=f"{args.cluster_name}-edge",
            load_balancer_type=args.type,
            location=args.location,
            delete_protection=True,
            labels={"bex-stack": args.stack},
            opts=pulumi.ResourceOptions(parent=self, protect=True),
        )
        self.address = balancer.ipv4
        network = hcloud.get_network_output(
            name=pulumi.Output.from_input(args.reached).apply(lambda _: args.cluster_name),
            opts=pulumi.InvokeOptions(parent=self),
        )
        attached = hcloud.LoadBalancerNetwork(
            f"{name}-network",
            load_balancer_id=balancer.id.apply(int),
            network_id=network.id,
            opts=child,
        )
        after = pulumi.ResourceOptions(parent=self, depends_on=[attached])
        hcloud.LoadBalancerTarget(
            f"{name}-target",
            type="label_selector",
            load_balancer_id=balancer.id.apply(int),
            label_selector=f"caph-cluster-{args.cluster_name}=owned,machine_type=worker",
            use_private_ip=True,
            opts=after,
        )
        for port, node_port in ((80, charts.HTTP_NODE_PORT), (443, charts.HTTPS_NODE_PORT)):
            hcloud.LoadBalancerService(
                f"{name}-service-{port}",
                load_balancer_id=balancer.id,
                protocol="tcp",
                listen_port=port,
                destination_port=node_port,
                proxyprotocol=True,
                health_check={
                    "protocol": "tcp",
                    "port": node_port,
                    "interval": 15,
                    "timeout": 10,
                    "retries": 3,
                },
                opts=after,
            )
        self.register_outputs({"address": self.address})


def _rules(admins: Sequence[str], ports: Sequence[str]) -> list[Any]:
    """ICMP from everywhere, *ports* from the administrators; without any, those stay closed."""
    rules: list[Any] = [{"direction": "in", "protocol": "icmp", "source_ips": list(EVERYWHERE)}]
    if admins:
        rules += [
            {"direction": "in", "protocol": "tcp", "port": port, "source_ips": list(admins)}
            for port in ports
        ]
    return rules


BALANCER_NETWORK = caph.SUBNET
"""Where the load balancer's private address is; PROXY protocol is believed from there."""
