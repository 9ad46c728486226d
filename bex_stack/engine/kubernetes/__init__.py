"""Kubernetes objects as Pulumi resources, with the semantics of the pulumi-kubernetes provider.

Server-side apply for updates, POST for creates, replacement rules, readiness waits. The facts are
read from pulumi-kubernetes v4 (provider/pkg/provider, provider/pkg/await).
"""
