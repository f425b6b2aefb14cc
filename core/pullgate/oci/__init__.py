"""The OCI distribution-spec's and image-spec's words as types. No I/O of any kind is done here, no clock is read."""
