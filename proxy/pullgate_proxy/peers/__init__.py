"""The other replicas: each blob has one of them that fetches it for all, so that N replicas fetch it once.

Off by default. A replica that does not get a blob from a peer in time asks the upstream itself.
"""
