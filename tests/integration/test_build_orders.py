"""What starts builds, on a real API server: pushes in a rush, many tenants, dying operators."""

import hashlib
import hmac
import io
import json
from pathlib import Path
from typing import Any

import aiohttp

from bex_operator.api import names, status
from bex_operator.controllers import webhooks
from bex_operator.kube import client, kinds
from bex_operator.plan import build_outcomes, build_queue
from bex_operator.plan import webhooks as plan
from bex_stack.embedded import toolchain
from tests.support import build_jobs as playing
from tests.support import git_server, places, ssh_git_server
from tests.support.apps_cluster import condition, kube, namespace, until
from tests.support.build_shop import Shop, shop

__all__ = ["kube", "namespace"]


async def test_two_hundred_pushes_are_two_builds_and_the_last_one_runs(
    kube: client.Client, namespace: str
) -> None:
    """Whatever comes while a build runs waits as one: the newest."""
    repository = playing.Repository(head=f"{0:040x}")
    async with (
        playing.machines(kube, namespace) as machines,
        shop(kube, namespace, repository) as made,
    ):
        machines.open.clear()
        await made.create()

        async def is_building() -> bool:
            return any(each.state == "Running" for each in await made.builds())

        await until(is_building, "the first build runs")
        for number in range(1, 201):
            before, repository.head = repository.asked, f"{number:040x}"

            async def is_seen(before: int = before) -> bool:
                return repository.asked > before + 1

            if number % 20 == 0:  # the poll finds some of them, as in life
                await until(is_seen, f"push {number} is seen")
        machines.open.set()

        async def last_runs() -> bool:
            done = {each.commit: each.image for each in await made.builds()}
            return await made.image() == done.get(repository.head, "")

        await until(last_runs, "the last commit runs")
        found = [int(each.commit, 16) for each in await made.builds()]

    assert found[0] == 0
    assert found[-1] == 200
    assert len(found) <= 3
    assert set(machines.started.values()) == {1}


async def _queue(made: Shop) -> status.Queue:
    return build_queue.reported(await made.bench.get(kinds.APP))


async def _waits(made: Shop, commit: str) -> status.Queued:
    """Push *commit*, and wait until it is told to wait."""
    made.repository.head = commit

    async def is_told() -> bool:
        waits = (await _queue(made)).waiting
        return waits is not None and waits.commit == commit

    await until(is_told, f"{commit[:1]} waits")
    waits = (await _queue(made)).waiting
    assert waits is not None
    return waits


async def test_push_that_loses_its_turn_is_told_of(kube: client.Client, namespace: str) -> None:
    """It waits, and then a newer one does: that is known after both, and of no other."""
    repository = playing.Repository()
    async with (
        playing.machines(kube, namespace) as machines,
        shop(kube, namespace, repository) as made,
    ):
        machines.open.clear()
        await made.create()
        await until(made.jobs, "the first build has a Job")
        lost, newest = await _waits(made, "b" * 40), await _waits(made, "c" * 40)
        told = await _queue(made)
        machines.open.set()

        async def newest_runs() -> bool:
            done = {each.commit: each.image for each in await made.builds()}
            return await made.image() == done.get(newest.commit, "")

        await until(newest_runs, "the newest commit runs")

        async def none_waits() -> bool:
            return (await _queue(made)).waiting is None

        await until(none_waits, "nothing waits")
        assert (await _queue(made)).overtaken == told.overtaken

    (overtaken,) = told.overtaken
    assert overtaken == status.Overtaken(**lost.model_dump(), superseded_by=newest.commit)
    assert (lost.trigger, lost.ref) == ("push", "main")


async def test_build_that_waits_is_cancelled(kube: client.Client, namespace: str) -> None:
    """It never runs, nor does anybody begin it again until it is asked for."""
    repository = playing.Repository()
    async with (
        playing.machines(kube, namespace) as machines,
        shop(kube, namespace, repository) as made,
    ):
        machines.open.clear()
        await made.create()
        await until(made.jobs, "the first build has a Job")
        waits = await _waits(made, "b" * 40)
        order = {"job": waits.job, "wanted": waits.since, "by": "ada"}
        await _annotate(kube, namespace, names.CANCEL_ANNOTATION, order)

        async def has_become(*states: str) -> bool:
            return [each.state for each in await made.builds()] == [*states]

        await until(lambda: has_become("Running", "Cancelled"), "it is cancelled")
        machines.open.set()
        await until(lambda: has_become("Succeeded", "Cancelled"), "the other ends")
        await made.bench.settle_caches()
        _, cancelled = await made.builds()
        assert cancelled.message == "cancelled by ada before it began"
        assert machines.started.total() == 1

        await _annotate(kube, namespace, names.DEPLOY_ANNOTATION, {"at": "2999-01-01T00:00:00Z"})

        async def second_runs() -> bool:
            done = {each.commit: each.image for each in await made.builds()}
            return await made.image() == done.get(waits.commit, "")

        await until(second_runs, "it runs when asked for")


async def _annotate(kube: client.Client, namespace: str, name: str, order: Any) -> None:
    body = {"metadata": {"annotations": {name: json.dumps(order)}}}
    await kube.patch(kinds.APP, "web", namespace, body)


async def test_fault_28_app_deleted_while_it_is_built_leaves_nothing(
    kube: client.Client, namespace: str
) -> None:
    """Its build goes before the App does."""
    repository = playing.Repository(head=f"{1:040x}")
    async with (
        playing.machines(kube, namespace) as machines,
        shop(kube, namespace, repository) as made,
    ):
        machines.open.clear()
        await made.create()

        async def is_building() -> bool:
            return any(each.state == "Running" for each in await made.builds())

        async def is_gone() -> bool:
            return await made.bench.find(kinds.APP) is None

        await until(is_building, "the build runs")
        await kube.delete(kinds.APP, "web", namespace)
        await until(is_gone, "the App is gone")

        assert await made.jobs() == []


async def test_tenant_with_many_builds_keeps_nobody_waiting(
    kube: client.Client, namespace: str
) -> None:
    """Room is used to the last place and never exceeded; the next App is woken when room comes."""
    repository = playing.Repository()
    async with shop(kube, namespace, repository, limit=3, limit_each=3) as made:
        for number in range(12):
            await made.create(f"web{number}")

        async def is_full() -> bool:
            return len(await made.jobs()) >= 3

        await until(is_full, "the room is used")
        assert len(await made.jobs()) == 3
        async with playing.machines(kube, namespace) as machines:

            async def all_done() -> bool:
                jobs = await made.jobs()
                assert sum(map(build_outcomes.is_running, jobs)) <= 3
                states = [build_outcomes.read(each).state for each in jobs]
                return states.count("Succeeded") == 12

            # Whoever waited without being woken would come after half a minute each.
            await until(all_done, "every App was built")

    assert machines.started.total() == 12


async def test_push_that_needs_no_build_stays_with_the_image(
    kube: client.Client, namespace: str
) -> None:
    """It makes no release; the next one that counts is compared with what serves."""
    repository = playing.Repository()
    async with (
        playing.machines(kube, namespace) as machines,
        shop(kube, namespace, repository) as made,
    ):
        await made.create()
        await until(made.image, "the first commit runs")
        image = await made.image()
        machines.told["b" * 40] = {"skipped": "its message says [skip bex]"}
        repository.head = "b" * 40

        async def is_skipped() -> bool:
            return [each.state for each in await made.builds()] == ["Succeeded", "Skipped"]

        await until(is_skipped, "the second commit was looked at")
        await made.bench.settle_caches()
        first, second = await made.jobs()

    assert await made.image() == image
    assert f"--base-scope={'a' * 40}" in _clone(second)["args"]
    assert not any("base-scope" in each for each in _clone(first)["args"])


def _clone(job: dict[str, Any]) -> dict[str, Any]:
    steps: list[dict[str, Any]] = job["spec"]["template"]["spec"]["initContainers"]
    return next(each for each in steps if each["name"] == "clone")


async def test_webhook_starts_what_the_poll_would(kube: client.Client, namespace: str) -> None:
    """At once, with the commit that the repository has; nobody else's word counts."""
    repository = playing.Repository()
    async with (
        playing.machines(kube, namespace),
        shop(kube, namespace, repository, poll_seconds=3600.0) as made,
        webhooks.serve(
            made.builder.receiver(made.bench.views.apps), "127.0.0.1", places.free_ports(1)[0]
        ) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
    ):
        await made.create()
        await until(made.image, "the first commit runs")
        first, asked = await made.image(), repository.asked
        repository.head = "b" * 40
        app = await made.bench.get(kinds.APP)
        secret = plan.secret_of(b"k" * 32, app["metadata"]["uid"])
        body = b'{"ref": "refs/heads/main", "after": "cccc"}'
        signed = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()

        async def deliver(name: str, signature: str, content: bytes = body) -> int:
            headers = {"X-GitHub-Event": "push", "X-Hub-Signature-256": f"sha256={signature}"}
            path = plan.path_of(namespace, name)
            async with session.post(path, data=io.BytesIO(content), headers=headers) as answer:
                return answer.status

        assert await deliver("web", "0" * 64) == 401
        assert await deliver("nobody", signed) == 401
        assert await deliver("web", signed, b" " * (plan.MAX_BODY_BYTES + 1)) == 413
        assert repository.asked == asked
        assert await deliver("web", signed) == 202

        async def second_runs() -> bool:
            return await made.image() not in {None, first}

        await until(second_runs, "the second commit runs")
        newest = (await made.builds())[-1]

    assert newest.commit == "b" * 40
    assert newest.made is not None
    assert newest.made.trigger == "push"


async def test_ssh_repository_is_asked_by_a_job_with_its_deploy_key(
    kube: client.Client, namespace: str, tmp_path: Path
) -> None:
    """The operator speaks no ssh; the key is in no Job, and a missing one is told."""
    program = toolchain.ensure(["bex-build"]).path("bex-build")
    files = git_server.GitServer(tmp_path, "", tmp_path)
    commit = files.commit("secret", {"a": "one"})
    with ssh_git_server.serve(tmp_path) as server:
        async with (
            playing.machines(kube, namespace) as machines,
            shop(kube, namespace, playing.Repository(), inner=("127.0.0.1/32",)) as made,
        ):
            machines.program, machines.folder = program, tmp_path
            await made.create(repo=f"{server.url}/secret.git", cloneSecret="key")

            async def is_refused() -> bool:
                app = await made.bench.get(kinds.APP)
                told = (app.get("status") or {}).get("conditions")
                return bool(told) and "there is no Secret 'key'" in condition(app, "Ready")[2]

            await until(is_refused, "the missing Secret is told")
            key = server.key.read_text()
            held = {"ssh-privatekey": key, "known_hosts": server.known_hosts.read_text()}
            secret = {"apiVersion": "v1", "kind": "Secret", "stringData": held}
            secret["metadata"] = {"name": "key", "namespace": namespace}
            await kube.create(secret, field_manager="test")
            order = {"at": "2999-01-01T00:00:00Z"}
            await _annotate(kube, namespace, names.DEPLOY_ANNOTATION, order)
            await until(made.image, "the commit runs")
            jobs = await made.jobs()

    assert [build_outcomes.read(each).commit for each in jobs] == [commit]
    assert {"--key=/clone/key", "--known-hosts=/clone/known-hosts"} <= set(_clone(jobs[0])["args"])
    assert key.splitlines()[1] not in str(jobs)
