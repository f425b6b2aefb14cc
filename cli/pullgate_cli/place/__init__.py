"""Where the resources are that a command speaks of: a cluster, or a folder that `pullgate standalone` serves."""
