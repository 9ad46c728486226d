"""Resources that no Pulumi package has: a kind cluster, `clusterctl init`, kubeconfigs.

Providers are importable, hold no data and may repeat every create. They run the pinned programs;
what is secret goes through private files, never through an argument list.
"""
