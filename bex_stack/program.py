"""The program: settings in, components in order, outputs out."""

from pathlib import Path

import pulumi

from bex_operator import api
from bex_stack import app_modules, settings
from components import app_operator, app_set, edge

APPS = Path("apps")


def deploy() -> None:
    """Describe the stack that is being run."""
    stack = settings.from_pulumi()
    apps = chosen_apps(stack, source=f"Pulumi.{pulumi.get_stack()}.yaml")
    _deploy_embedded(stack, apps)


def chosen_apps(stack: settings.StackSettings, *, source: str) -> list[api.App]:
    """Load the apps that the stack's settings name; *source* is the stack file's name."""
    defined = {app.name: app for app in app_modules.load(Path.cwd() / APPS)}
    names = settings.select_apps(stack.apps, list(defined), source=source)
    return [defined[name] for name in names]


def _deploy_embedded(stack: settings.EmbeddedSettings, apps: list[api.App]) -> None:
    from bex_stack.embedded import overlay

    instance = stack.as_instance(settings.home())
    args = overlay.EmbeddedArgs(instance, stack.workers)
    cluster = overlay.EmbeddedCluster("app-cluster", args)
    registry = overlay.EmbeddedRegistry("registry", args)
    processes = overlay.EmbeddedProcesses(
        "platform", args, pulumi.ResourceOptions(depends_on=[cluster.control_plane])
    )
    in_cluster = pulumi.ResourceOptions(
        provider=_kubernetes(cluster.kubeconfig), depends_on=[cluster.control_plane]
    )
    operator = app_operator.AppOperator(
        "operator", app_operator.AppOperatorArgs("bex-operator", "bex-edge"), in_cluster
    )
    edge.Edge("edge", in_cluster)
    app_set.AppSet(
        "apps",
        app_set.AppSetArgs(apps, api.NAMESPACE),
        pulumi.ResourceOptions(
            provider=in_cluster.provider,
            depends_on=[*operator.objects, *registry.images, *cluster.machines, processes],
        ),
    )
    pulumi.export("kubeconfig", pulumi.Output.secret(cluster.kubeconfig))
    pulumi.export("registry", registry.endpoint)
    pulumi.export("apps", {app.name: instance.url(app.host) for app in apps if app.host})


def _kubernetes(kubeconfig: pulumi.Output[str]) -> pulumi.ProviderResource:
    import pulumi_kubernetes

    return pulumi_kubernetes.Provider("app-cluster", kubeconfig=kubeconfig)
