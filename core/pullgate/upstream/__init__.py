"""The client of a registry. Only this package does I/O with upstreams; aiohttp's exceptions do not leave it.

Every error leaves as a fault of `pullgate.faults`. A credential is sent only to the upstream itself and to the token
server that `guard` allows.
"""
