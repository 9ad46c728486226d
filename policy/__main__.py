"""The policy pack: `pulumi preview --policy-pack policy`. It only hands resources to the rules."""

import pulumi
import pulumi_policy
import rules

PRODUCTION = ("hetzner",)
"""Stacks that are production, unless the pack's configuration names others."""
_CONFIG = pulumi_policy.PolicyConfigSchema(
    properties={
        "production": {
            "type": "array",
            "items": {"type": "string"},
            "default": list(PRODUCTION),
            "description": "Names of the stacks that are production.",
        }
    }
)


def _policy(name: str, rule: rules.Rule) -> pulumi_policy.ResourceValidationPolicy:
    def validate(
        args: pulumi_policy.ResourceValidationArgs, report: pulumi_policy.ReportViolation
    ) -> None:
        production = args.get_config().get("production", PRODUCTION)
        resource = rules.Resource(
            type=args.resource_type,
            name=args.name,
            props=args.props,
            protect=bool(args.opts.protect),
            is_production=pulumi.get_stack() in production,
        )
        for message in rule(resource):
            report(message)

    return pulumi_policy.ResourceValidationPolicy(
        name=name,
        description=(rule.__doc__ or "").strip(),
        validate=validate,
        config_schema=_CONFIG if name == "images-by-digest" else None,
    )


pulumi_policy.PolicyPack(
    name="bex",
    enforcement_level=pulumi_policy.EnforcementLevel.MANDATORY,
    policies=[_policy(name, rule) for name, rule in rules.RULES.items()],
)
