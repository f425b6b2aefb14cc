"""Blobs on a disk and in an object store, fetched once for each place."""
