"""The store of resources and Secrets: the port that reconcilers and the proxy share, and its folder. I/O."""
