"""Hundreds of generated changes of Apps, and back: Ready is never said too early, nor too late.

What an App may ask for comes from the CRD's schema: a field without a generator fails the test.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from bex_operator import api
from bex_operator.api import names
from bex_operator.kube import client, kinds
from tests.support.apps_cluster import Bench, condition, kube, make_bench, namespace

__all__ = ["kube", "namespace"]

SEED = 20260131
APPS = 8
STEPS = 40
OWN_SECRET = "platform-key"

OFF: Any = None
"""Takes a field out of the spec."""

VALUES: dict[str, list[Any]] = {
    "image": ["example.com/web:1", "example.com/web:2", "example.com/team/web@sha256:" + "a" * 64],
    "port": [3000, 80, 8080, OFF],
    "replicas": [1, 2, 0, OFF],
    "autoscaling": [{"maxReplicas": 3}, {"minReplicas": 2, "maxReplicas": 2}, OFF, OFF],
    "command": [["run"], ["run", "--fast"], OFF],
    "args": [["a"], [], OFF],
    "preDeployCommand": [OFF],
    "runAsUser": [1000, 65532, OFF],
    "env": [[], [{"name": "A", "value": "1"}], [{"name": "A", "value": ""}, {"name": "PORT"}]],
    "envFromSecret": ["settings", OFF],
    "healthCheckPath": ["/", "/healthz", OFF],
    "tier": ["free", "standard"],
    "host": ["{app}.example.com", "*.{app}.example.com", OFF],
    "hosts": [["{app}-2.example.com", "{app}-3.example.com"], [], OFF],
    "expose": [True, False, OFF],
    "suspended": [True, False, OFF],
    "restartedAt": ["2026-01-31T12:00:00Z", "2026-01-31T13:00:00Z", OFF],
    "idleTTLSeconds": [0, 60, OFF],
    "maxShutdownDelaySeconds": [1, 300, OFF],
}
ELSEWHERE = {
    "repo": "builds have tests of their own",
    "branch": "",
    "rootDir": "",
    "dockerfilePath": "",
    "dockerContext": "",
    "builder": "",
    "buildFilter": "",
    "cloneSecret": "",
    "resources": "excludes a tier",
}
RUNTIME = ("port", "command", "args", "env", "envFromSecret", "healthCheckPath", "runAsUser")


@dataclass
class Actor:
    """One App, and everybody who changes it."""

    bench: Bench
    name: str
    chance: random.Random
    done: list[str] = field(default_factory=list)
    """What was done to it, to tell where it went wrong."""

    async def run(self) -> int:
        """Change the App again and again; return how often."""
        await self.bench.create(self.name, tier="free")
        await self.settle()
        steps: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (8, self.change),
            (2, self.meddle),
            (1, self.break_and_mend),
            (1, self.roll_back),
        ]
        weights = [weight for weight, _ in steps]
        for _ in range(STEPS):
            (step,) = self.chance.choices([step for _, step in steps], weights)
            await step()
        return STEPS

    async def change(self) -> None:
        """Change one to three fields."""
        fields = self.chance.sample(sorted(VALUES), self.chance.randint(1, 3))
        spec = {each: self.value(each) for each in fields}
        await self.write({"spec": spec})
        await self.settle()

    async def meddle(self) -> None:
        """Somebody edits or deletes what the operator made."""
        kind = self.chance.choice([kinds.DEPLOYMENT, kinds.SERVICE])
        cache, delete = self.bench.views.children[kind.kind], self.chance.random() < 0.5
        self.done.append(f"meddle with {kind.kind}, delete={delete}")
        if delete:
            await self.bench.kube.delete(kind, self.name, self.bench.namespace)
            await self.bench.gone(kind, self.name)
        else:
            spec: dict[str, Any] = {"selector": {"other": "app"}}
            if kind is kinds.DEPLOYMENT:
                container = {"name": names.CONTAINER, "image": "other/image"}
                spec = {"template": {"spec": {"containers": [container]}}}
            written = await self.bench.kube.patch(
                kind,
                self.name,
                self.bench.namespace,
                {"spec": spec},
                content_type="application/strategic-merge-patch+json",
            )
            await self.bench.seen(cache, written)
        await self.settle()

    async def break_and_mend(self) -> None:
        """Ask for what cannot be, and take it back: it must be as before."""
        before = (await self.get())["spec"]
        if self.chance.random() < 0.5:
            await self.write({"spec": {"envFromSecret": OWN_SECRET}})
            app = await self.bench.reconcile(self.name)
            await self.check(app)
            assert condition(app, "Ready")[0] == "False", self.done
        else:
            await self.write({"spec": {"image": "example.com/broken:1"}})
            await self.bench.reconcile(self.name)
            deployment = await self.find(kinds.DEPLOYMENT)
            assert deployment is not None
            if deployment["spec"].get("replicas", 1):
                await self.bench.play(self.name, ready=0)
            app = await self.bench.reconcile(self.name)
            await self.check(app)
            assert condition(app, "Ready")[0] == "False", self.done
        asked = {each: before.get(each) for each in ("envFromSecret", "image")}
        await self.write({"spec": asked})
        await self.settle()

    async def roll_back(self) -> None:
        """Go back to any release that is kept, or to one that is not."""
        found = await self.bench.kube.list(
            kinds.CONTROLLER_REVISION,
            self.bench.namespace,
            labels=f"{names.APP_LABEL}={self.name}",
        )
        kept = [f"rev-{each['revision']}" for each in found.items]
        revision = self.chance.choice([*kept, "rev-999"])
        await self.write({"metadata": {"annotations": {names.ROLLBACK_ANNOTATION: revision}}})
        app = await self.bench.reconcile(self.name)
        await self.check(app)
        if revision == "rev-999":
            assert condition(app, "Ready")[1] == "RollbackImpossible", self.done
            await self.write({"metadata": {"annotations": {names.ROLLBACK_ANNOTATION: None}}})
        await self.settle()

    async def settle(self) -> None:
        """Let the cluster follow; the App must become Ready, and not before everything is."""
        for _ in range(4):
            app = await self.bench.reconcile(self.name)
            await self.check(app)
            if condition(app, "Ready")[0] == "True":
                return
            deployment = await self.find(kinds.DEPLOYMENT)
            if deployment is None:
                continue
            await self.scale(deployment)
            await self.bench.play(self.name)
            app = await self.bench.reconcile(self.name)
            await self.check(app)
            if self.is_parked(app) or condition(app, "Ready")[0] == "True":
                return
        raise AssertionError(f"not Ready: {condition(app, 'Ready')} after {self.done[-4:]}")

    async def scale(self, deployment: dict[str, Any]) -> None:
        """What an autoscaler does without any load: keep the number within its bounds."""
        found = await self.find(kinds.HORIZONTAL_POD_AUTOSCALER)
        if found is None:
            return
        asked = int(deployment["spec"]["replicas"])
        assert asked > 0, self.done[-4:]
        least, most = (found["spec"][each] for each in ("minReplicas", "maxReplicas"))
        if least <= asked <= most:
            return
        written = await self.bench.kube.patch(
            kinds.DEPLOYMENT,
            self.name,
            self.bench.namespace,
            {"spec": {"replicas": max(least, min(asked, most))}},
            field_manager="autoscaler",
        )
        await self.bench.seen(self.bench.views.children["Deployment"], written)

    async def check(self, app: dict[str, Any]) -> None:
        """Hold what is said of the App against what there is."""
        status, seen = app["status"], self.done[-4:]
        assert status["observedGeneration"] == app["metadata"]["generation"], seen
        if condition(app, "Ready")[0] != "True":
            return
        deployment, service = await self.find(kinds.DEPLOYMENT), await self.find(kinds.SERVICE)
        ingress, spec = await self.find(kinds.INGRESS), app["spec"]
        assert deployment is not None, seen
        assert service is not None, seen
        revision = deployment["spec"]["template"]["metadata"]["labels"][names.REVISION_LABEL]
        assert status["activeRevision"] == revision, seen
        pods = [each for each in await self.bench.pods(self.name) if _is_ready(each)]
        current = [e for e in pods if e["metadata"]["labels"][names.REVISION_LABEL] == revision]
        assert len(current) >= self.least(spec), seen
        assert {_image(each["spec"]) for each in current} == {status["image"]}, seen
        assert service["spec"]["selector"] == {names.APP_LABEL: self.name}, seen
        routed = [rule["host"] for rule in (ingress or {}).get("spec", {}).get("rules", [])]
        assert routed == self.hosts(spec), seen
        if names.ROLLBACK_ANNOTATION not in app["metadata"].get("annotations", {}):
            _check_pod(spec, deployment["spec"]["template"]["spec"], seen)
            assert service["spec"]["ports"][0]["port"] == spec["port"], seen

    def value(self, name: str) -> Any:
        """Choose a value for a field."""
        value = self.chance.choice(VALUES[name])
        if isinstance(value, str):
            return value.replace("{app}", self.unique)
        if name == "hosts" and value:
            return [each.replace("{app}", self.unique) for each in value]
        if name == "env":
            return [{"value": "9", **each} for each in value]
        return value

    @property
    def unique(self) -> str:
        """A label that no other App of any test has."""
        return f"{self.name}-{self.bench.namespace}"

    def hosts(self, spec: dict[str, Any]) -> list[str]:
        """The hosts that the App asks for, in order; there is no base domain."""
        return [each for each in [spec.get("host"), *spec.get("hosts", [])] if each]

    def least(self, spec: dict[str, Any]) -> int:
        """How many must be ready at least."""
        if spec.get("autoscaling"):
            return int(spec["autoscaling"]["minReplicas"])
        return int(spec["replicas"])

    def is_parked(self, app: dict[str, Any]) -> bool:
        """Nothing is to run."""
        return bool(app["spec"].get("suspended")) or app["spec"].get("replicas") == 0

    async def write(self, body: dict[str, Any]) -> None:
        """Change the App object; null takes a field away."""
        self.done.append(repr(body))
        written = await self.bench.kube.patch(
            kinds.APP, self.name, self.bench.namespace, body, field_manager="test"
        )
        await self.bench.seen(self.bench.views.apps, written)

    async def get(self) -> dict[str, Any]:
        """The App object."""
        return await self.bench.get(kinds.APP, self.name)

    async def find(self, kind: kinds.Kind) -> dict[str, Any] | None:
        """A child, if it is there."""
        return await self.bench.find(kind, self.name)


def _is_ready(pod: dict[str, Any]) -> bool:
    found = pod.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in found)


def _image(spec: dict[str, Any]) -> str:
    return str(spec["containers"][0]["image"])


def _check_pod(spec: dict[str, Any], pod: dict[str, Any], seen: list[str]) -> None:
    """Compare the fields that make a pod one by one, not by the operator's own rendering."""
    (container,) = pod["containers"]
    variables = {each["name"]: each.get("value", "") for each in container["env"]}
    wanted = {each["name"]: each["value"] for each in spec.get("env", [])}
    assert container["image"].startswith(spec["image"].partition("@")[0].rpartition(":")[0]), seen
    assert container["ports"][0]["containerPort"] == spec["port"], seen
    assert {**wanted, "PORT": str(spec["port"])}.items() <= variables.items(), seen
    assert container.get("command") == spec.get("command"), seen
    assert container.get("args", []) == spec.get("args", []), seen
    assert pod["securityContext"].get("runAsUser") == spec.get("runAsUser"), seen
    path = container["readinessProbe"].get("httpGet", {}).get("path")
    assert path == spec.get("healthCheckPath"), seen
    secrets = [each["secretRef"]["name"] for each in container.get("envFrom", [])]
    assert secrets == [each for each in [spec.get("envFromSecret")] if each], seen


def test_every_field_of_the_schema_has_a_generator() -> None:
    """A field that is added joins in, or says why not."""
    version = api.crd()["spec"]["versions"][0]
    properties = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]

    assert set(VALUES) | set(ELSEWHERE) == set(properties)


async def test_ready_is_true_to_what_there_is(kube: client.Client, namespace: str) -> None:
    """Never said while children differ from the spec, never withheld once they match."""
    async with make_bench(kube, namespace, namespace, own_secrets=frozenset({OWN_SECRET})) as bench:
        actors = [
            Actor(bench, f"web{number}", random.Random(SEED + number))  # noqa: S311 - no secret
            for number in range(APPS)
        ]

        steps = await asyncio.gather(*(each.run() for each in actors))

    assert sum(steps) >= 300
