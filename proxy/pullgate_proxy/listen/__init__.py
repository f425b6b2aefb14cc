"""The ports: connections, their bounds, the memory, TLS and the end of the process."""
