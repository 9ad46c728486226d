"""The one seam to Kubernetes: client, caches, leases, queues. Its errors are all in `errors`."""
