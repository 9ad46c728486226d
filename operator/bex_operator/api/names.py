"""Names that other programs may rely on: group, labels, annotations, namespaces."""

import hashlib

GROUP = "app.bex.co"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "App"
PLURAL = "apps"

NAMESPACE = "bex-apps"
"""Where a stack's Apps live."""
SYSTEM_NAMESPACE = "bex-system"
"""Where the platform itself lives."""
BUILD_NAMESPACE = "bex-builds"
"""Where images are built."""
KEPT_BUILDS = "/var/lib/kubelet/bex-builds"
"""Folder of a machine with what its builds leave for later ones, one for each App's UID. It lies on
the disk that the kubelet watches (`nodefs`)."""
ROOM_STEP = "room"
"""The only step of builds that sees what is kept of all Apps; it runs no code of tenants."""

APP_LABEL = f"{GROUP}/app"
"""Name of the App, on every child; the only label of selectors."""
APP_UID_LABEL = f"{GROUP}/app-uid"
"""UID of the App, on its children: theirs even if somebody removes the owner reference."""
COMPONENT_LABEL = f"{GROUP}/component"
"""What a Job does for an App, like `pre-deploy`; on its pods too."""
JOB_OF_LABEL = f"{GROUP}/job-of"
"""Name of the App, on pods of its Jobs: those with the App's own label get its requests."""
REVISION_LABEL = f"{GROUP}/revision"
"""Revision (`rev-N`) of a pod."""
PROTECTED_LABEL = f"{GROUP}/protected-from-tenant-mount"
"""On Secrets that no App may name; its value is `true`."""
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "bex-operator"
RELEASE_ANNOTATION = f"{GROUP}/release"
"""Digest of the runtime configuration that a Deployment rolls out."""
SCALED_BY_ANNOTATION = f"{GROUP}/scaled-by"
"""On a Deployment whose replicas the operator leaves to an autoscaler."""
APPLIED_ANNOTATION = f"{GROUP}/applied"
"""Digest of the child as it was last applied: tells a removed field from one that others added."""
ROLLBACK_ANNOTATION = f"{GROUP}/rollback-to"
"""Revision (`rev-N`) whose image and configuration an App takes until its own spec changes."""
CHANGED_BY_ANNOTATION = f"{GROUP}/changed-by"
"""On an App: which person changed it, written by the program that did it for them."""
DEPLOY_ANNOTATION = f"{GROUP}/deploy"
"""What a person asked to deploy from an App's repository, as JSON: `at`, `ref`, `clearCache`."""
PUSHED_ANNOTATION = f"{GROUP}/pushed"
"""When a git server told last that an App's repository was pushed to."""
CANCEL_ANNOTATION = f"{GROUP}/cancel"
"""Which build of an App a person wants ended, as JSON: `job`, `by`."""
FINALIZER = f"{GROUP}/finalizer"

SECRETS_ROLE = "bex-operator-secrets"
"""ClusterRole to bind in each namespace of Apps that name Secrets."""
INGRESS_CLASS = "bex"
CONTAINER = "app"
PORT_NAME = "http"
"""Container and Service port: by name, so that pods of two revisions may listen on two ports."""

LABEL_LIMIT = 63
"""Longest value of a label, and longest name of what becomes one: a Job's, a Service's."""


def joined(*parts: str, limit: int = LABEL_LIMIT) -> str:
    """Join parts of a name with dashes; one that is too long ends in a hash of the whole.

    Cut alone, two long names could become the same.
    """
    whole = "-".join(parts)
    if len(whole) <= limit:
        return whole
    mark = hashlib.sha256(whole.encode()).hexdigest()[:10]
    return f"{whole[: limit - len(mark) - 1].rstrip('-.')}-{mark}"
