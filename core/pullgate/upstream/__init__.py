"""The client of a registry. I/O with upstreams happens here and nowhere else; aiohttp's exceptions die in this room.

Whatever goes wrong leaves as a fault of `pullgate.faults`. A credential is sent to the upstream itself and to the token
server that `guard` allows, and to nobody else.
"""
