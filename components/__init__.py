"""Pulumi components: an args value and a component each; they get args, never configuration."""
