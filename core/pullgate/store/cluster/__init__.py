"""Resources that live in a cluster: the API server behind the port of `pullgate.store.port`."""
