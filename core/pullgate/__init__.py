"""What the operator, the proxy and the command line all know. Imports neither of them.

Pure rooms (no I/O, no clock, no environment): faults, oci, resources, policy. I/O rooms: upstream, store.
"""
