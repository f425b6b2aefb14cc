"""Where resources and Secrets live: the port that reconcilers and the proxy share, and its folder. I/O."""
