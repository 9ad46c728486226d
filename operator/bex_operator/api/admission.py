"""What the API server itself does with Apps when they are made."""

from typing import Any

from bex_operator.api import names

Manifest = dict[str, Any]

POLICY = f"finalizer.{names.GROUP}"
_GROUP = "admissionregistration.k8s.io/v1"


def finalizing() -> list[Manifest]:
    """Render the policy that puts our finalizer on every App.

    It saves the operator a write for each new App, and leaves no moment in which an App can vanish
    with its teardown undone. The operator adds the finalizer itself where the policy did not.
    """
    return [_policy(), _binding()]


def _policy() -> Manifest:
    lacking = f"!object.metadata.?finalizers.orValue([]).exists(f, f == '{names.FINALIZER}')"
    has_some = "has(object.metadata.finalizers)"
    added = (
        f"{has_some}"
        f" ? [JSONPatch{{op: 'add', path: '/metadata/finalizers/-', value: '{names.FINALIZER}'}}]"
        f" : [JSONPatch{{op: 'add', path: '/metadata/finalizers', value: ['{names.FINALIZER}']}}]"
    )
    return {
        "apiVersion": _GROUP,
        "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": POLICY},
        "spec": {
            # Without it an App is made all the same, and the operator adds the finalizer.
            "failurePolicy": "Ignore",
            "reinvocationPolicy": "Never",
            "matchConstraints": {
                "resourceRules": [
                    {
                        "apiGroups": [names.GROUP],
                        "apiVersions": ["*"],
                        "operations": ["CREATE"],
                        "resources": [names.PLURAL],
                    }
                ]
            },
            "matchConditions": [{"name": "lacking", "expression": lacking}],
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": added}}],
        },
    }


def _binding() -> Manifest:
    return {
        "apiVersion": _GROUP,
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": POLICY},
        "spec": {"policyName": POLICY},
    }
