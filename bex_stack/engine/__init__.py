"""An embedded engine that runs a Pulumi Python program without the pulumi CLI.

It supports a subset (Kubernetes objects, dynamic providers, components, stack references), refuses
everything else by name, and keeps its state where and as the CLI's file backend does.
"""
