"""Storage of resources and Secrets: the port that reconcilers and the proxy share, a folder, a cluster. I/O."""
