"""The place of a command's resources: a cluster, or a folder that `pullgate standalone` serves."""
