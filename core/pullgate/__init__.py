"""Code that the operator, the proxy and the command line share. Imports none of them.

Pure packages (no I/O, no clock, no environment): faults, oci, resources, policy. I/O: upstream, store.
"""
