"""The embedded substrate: a real Kubernetes with real machines on this host."""
