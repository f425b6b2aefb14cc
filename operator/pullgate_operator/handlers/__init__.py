"""kopf: what happens in the cluster, told to the store."""
