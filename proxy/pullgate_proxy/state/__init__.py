"""The proxy's view of the cluster (or folder): `snapshot` is pure, `watch` keeps it up to date."""
