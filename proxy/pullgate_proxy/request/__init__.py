"""A request as it comes in: its method and path, and the client and host behind proxies."""
