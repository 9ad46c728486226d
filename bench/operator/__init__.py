"""The operator against a peer in Go on controller-runtime and one on Kopf, doing the same work."""
