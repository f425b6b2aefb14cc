"""A real control plane for tests: etcd, the API server and the controller manager, or a cluster that is there."""
