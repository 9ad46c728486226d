"""Pure functions from typed values to Kubernetes manifests; nothing here knows Pulumi."""
