"""The Pulumi program: `pulumi up -s STACK` and `bex up -s STACK` both run this file."""

from bex_stack.program import deploy

deploy()
