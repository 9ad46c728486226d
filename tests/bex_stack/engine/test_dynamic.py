"""Dynamic providers in this process do what the SDK's own plugin process does."""

import contextlib
import os
import subprocess
import sys

import grpc
import pytest
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from bex_stack.engine import errors, providers, values
from bex_stack.engine.dynamic import DynamicProvider

SUBJECT = providers.Subject("urn", "pulumi-python:dynamic:Resource", "a")


@pytest.fixture
def inputs(project):
    """Return the inputs a program registers for one file, pickled provider and all."""
    project.up('File("a", folder, "1", note=pulumi.Output.secret("n"), count=3)')
    (project.folder / "journal").unlink()
    from bex_stack.engine import backend, passphrase

    files = backend.StackFiles(project.backend, "shop", "dev")
    stored = backend.read(files)
    crypter = passphrase.open_state("test", stored.salt, "state")
    found = backend.decode(stored, crypter, files).resources
    return next(each.inputs for each in found if each.id.endswith("a.txt"))


@pytest.fixture
def plugin(project):
    """Run the SDK's plugin process beside the program."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "pulumi.dynamic"],
        cwd=project.directory,
        env={**os.environ, "PULUMI_PROJECT": "shop"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        port = int(process.stdout.readline())
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield provider_pb2_grpc.ResourceProviderStub(channel)
    finally:
        process.terminate()
        process.communicate()


def test_plugin_and_process_agree(project, inputs, plugin, monkeypatch):
    """Check, create, diff, update, read: same ids, outputs and decisions from both."""
    monkeypatch.syspath_prepend(project.directory)
    ours = DynamicProvider("shop", {})
    plain = values.to_struct(values.reveal(inputs))
    changed = {**inputs, "text": "22"}
    news = values.to_struct(values.reveal(changed))

    theirs = plugin.Check(provider_pb2.CheckRequest(news=plain))
    assert values.from_struct(theirs.inputs) == values.reveal(
        ours.check(SUBJECT, None, inputs).inputs
    )
    created = plugin.Create(provider_pb2.CreateRequest(properties=plain))
    made = ours.create(SUBJECT, inputs, preview=False)
    assert (created.id, values.from_struct(created.properties)) == (
        made.id,
        values.reveal(made.outputs),
    )
    difference = plugin.Diff(
        provider_pb2.DiffRequest(id=made.id, olds=created.properties, news=news)
    )
    diffed = ours.diff(SUBJECT, made.id, (inputs, made.outputs), changed)
    assert (difference.changes == 2, tuple(difference.replaces)) == (
        diffed.changes,
        diffed.replaces,
    )
    updated = plugin.Update(
        provider_pb2.UpdateRequest(id=made.id, olds=created.properties, news=news)
    )
    now = ours.update(SUBJECT, made.id, (inputs, made.outputs), changed, preview=False)
    assert values.from_struct(updated.properties) == values.reveal(now.outputs)
    read = plugin.Read(provider_pb2.ReadRequest(id=made.id, properties=updated.properties))
    seen = ours.read(SUBJECT, made.id, changed, now.outputs)
    assert values.from_struct(read.properties) == values.reveal(seen.outputs)


def test_secret_inputs_are_secret_outputs(project, inputs, monkeypatch):
    """The provider sees clear values; what it returns for them is marked again."""
    monkeypatch.syspath_prepend(project.directory)

    made = DynamicProvider("shop", {}).create(SUBJECT, inputs, preview=False)

    assert values.is_secret(made.outputs["note"])
    assert values.is_secret(made.outputs["__provider"])
    assert made.outputs["count"] == 3


def test_missing_module_is_explained(inputs):
    """A provider whose module cannot be imported says so."""
    sys.modules.pop("store", None)

    with contextlib.suppress(ValueError), pytest.raises(errors.ProviderError, match="store"):
        DynamicProvider("shop", {}).create(SUBJECT, inputs, preview=False)
