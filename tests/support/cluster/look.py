"""No secret in what a cluster shows of Pullgate, but in Secrets."""

from __future__ import annotations

import json
from typing import Final

from tests.support.canaries import look
from tests.support.cluster.kubectl import Kubectl

KINDS: Final = "registries,licenses,imagetests,events,configmaps,leases,deployments,serviceaccounts"


def look_at_resources(cluster: Kubectl, *scope: str) -> None:
    """Look at each resource and Event; `scope` is -A, or -n and a namespace."""
    for document in json.loads(cluster.kubectl("get", KINDS, *scope, "-o", "json"))["items"]:
        metadata = document["metadata"]
        look(f"{document['kind']} {metadata['namespace']}/{metadata['name']}", json.dumps(document))
