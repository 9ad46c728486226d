"""The operator's work written on Kopf, for the benchmark only: the same objects and status.

Run by `kopf run` in a virtual environment of its own, so it imports nothing of ours.
"""

import asyncio
import hashlib
import json
import os
import ssl
import tempfile
from base64 import b64decode
from pathlib import Path
from typing import Any

import aiohttp
import kopf
import yaml

Object = dict[str, Any]
GROUP, VERSION = "app.bex.co", "v1alpha1"
MANAGER = "bex-operator"
_PATHS = {
    "ControllerRevision": "/apis/apps/v1/namespaces/{}/controllerrevisions",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "Service": "/api/v1/namespaces/{}/services",
    "Ingress": "/apis/networking.k8s.io/v1/namespaces/{}/ingresses",
}


@kopf.on.startup()
async def start(settings: kopf.OperatorSettings, memo: kopf.Memo, **_: Any) -> None:
    """Open one session; ten handlers run at a time, and Kopf posts no Events of its own."""
    # Not by `worker_limit`: Kopf's workers stay with an object for seconds after its last event,
    # and ten of them would take two Apps a second.
    memo.turns = asyncio.Semaphore(10)
    settings.posting.enabled = False
    text = Path(os.environ["KUBECONFIG"]).read_text()  # noqa: ASYNC240 - once, at the start
    config = yaml.safe_load(text)
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    authority = b64decode(cluster["certificate-authority-data"]).decode()
    tls = ssl.create_default_context(cadata=authority)
    with tempfile.NamedTemporaryFile() as pair:
        pair.write(b64decode(user["client-certificate-data"]))
        pair.write(b"\n" + b64decode(user["client-key-data"]))
        pair.flush()
        tls.load_cert_chain(pair.name)
    memo.server = cluster["server"]
    memo.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls, limit=0))


@kopf.on.cleanup()
async def stop(memo: kopf.Memo, **_: Any) -> None:
    """Close the session."""
    await memo.session.close()


@kopf.on.create(GROUP, VERSION, "apps")
@kopf.on.update(GROUP, VERSION, "apps", field="spec")
@kopf.on.resume(GROUP, VERSION, "apps")
async def reconcile(
    body: kopf.Body, spec: kopf.Spec, patch: kopf.Patch, memo: kopf.Memo, **_: Any
) -> None:
    """Create what is missing and report."""
    async with memo.turns:
        for child in _children(body, dict(spec)):
            path = _PATHS[child["kind"]].format(body.metadata.namespace)
            url = f"{memo.server}{path}?fieldManager={MANAGER}"
            async with memo.session.post(url, json=child) as answer:
                if answer.status not in {201, 409}:
                    raise kopf.TemporaryError(await answer.text(), delay=1)
    patch.status.update(_status(body, dict(spec)))


def _status(body: kopf.Body, spec: Object) -> Object:
    host, generation = spec.get("host", ""), body.metadata["generation"]
    since = body.metadata["creationTimestamp"]
    facts = [
        ("Ready", "False", "RolloutProgressing", "0/1 replicas ready"),
        ("Released", "False", "RollingOut", "rev-1 is on its way"),
        ("Progressing", "True", "RollingOut", "rev-1 is starting"),
        ("Routed", "True", "Routed", f"hosts: {host}"),
        ("HostsClaimed", "True", "Claimed", "every host is the App's own"),
        ("Degraded", "False", "AsExpected", "nothing is known to be wrong"),
    ]
    keys = ("type", "status", "reason", "message")
    return {
        "phase": "Deploying",
        "observedGeneration": generation,
        "release": {"number": 1, "digest": _digest(spec)},
        "url": f"https://{host}",
        "urls": [f"https://{host}"],
        "replicas": 0,
        "readyReplicas": 0,
        "selector": f"{GROUP}/app={body.metadata.name}",
        "conditions": [
            dict(zip(keys, fact, strict=True))
            | {"observedGeneration": generation, "lastTransitionTime": since}
            for fact in facts
        ],
    }


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _children(body: kopf.Body, spec: Object) -> list[Object]:
    name, selector = body.metadata.name, {f"{GROUP}/app": body.metadata.name}
    record = _child(body, "apps/v1", "ControllerRevision", f"{name}-rev-1")
    record |= {"revision": 1, "data": {"number": 1, "config": spec}}
    deployment = _child(body, "apps/v1", "Deployment", name)
    deployment["spec"] = {
        "replicas": spec["replicas"],
        "revisionHistoryLimit": 3,
        "progressDeadlineSeconds": 900,
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
        },
        "selector": {"matchLabels": selector},
        "template": {"metadata": {"labels": selector}, "spec": _pod(spec)},
    }
    service = _child(body, "v1", "Service", name)
    port = {"name": "http", "port": spec["port"], "targetPort": "http", "protocol": "TCP"}
    service["spec"] = {"type": "ClusterIP", "selector": selector, "ports": [port]}
    ingress = _child(body, "networking.k8s.io/v1", "Ingress", name)
    backend = {"service": {"name": name, "port": {"name": "http"}}}
    paths = [{"path": "/", "pathType": "Prefix", "backend": backend}]
    rules = [{"host": spec["host"], "http": {"paths": paths}}]
    ingress["spec"] = {"ingressClassName": "bex", "rules": rules}
    return [_sealed(each) for each in (record, deployment, service, ingress)]


def _pod(spec: Object) -> Object:
    probe = {"tcpSocket": {"port": "http"}, "timeoutSeconds": 5, "successThreshold": 1}
    env = [*spec.get("env", []), {"name": "PORT", "value": str(spec["port"])}]
    container = {
        "name": "app",
        "image": spec["image"],
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"name": "http", "containerPort": spec["port"], "protocol": "TCP"}],
        "env": [*env, {"name": "BEX_REVISION", "value": "rev-1"}],
        "lifecycle": {"preStop": {"sleep": {"seconds": 10}}},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
        "startupProbe": probe | {"periodSeconds": 1, "failureThreshold": 900},
        "readinessProbe": probe | {"periodSeconds": 2, "failureThreshold": 15},
        "livenessProbe": probe | {"periodSeconds": 10, "failureThreshold": 6},
    }
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 40,
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }


def _child(body: kopf.Body, api_version: str, kind: str, name: str) -> Object:
    uid = body.metadata["uid"]
    owner = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "App",
        "name": body.metadata.name,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
    labels = {
        f"{GROUP}/app": body.metadata.name,
        f"{GROUP}/app-uid": uid,
        "app.kubernetes.io/managed-by": MANAGER,
    }
    metadata = {
        "name": name,
        "namespace": body.metadata.namespace,
        "labels": labels,
        "ownerReferences": [owner],
    }
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}


def _sealed(child: Object) -> Object:
    child["metadata"]["annotations"] = {f"{GROUP}/applied": _digest(child)}
    return child
