"""kopf: what happens in the cluster, told to the operator. One file for each kind of resource."""

from pullgate_operator.handlers import crd, image_test, license, namespace, process, registry, secret  # noqa: A004, F401 - they register
from pullgate_operator.handlers.hub import HANDLERS, Hub, make_memo

__all__ = ["HANDLERS", "Hub", "make_memo"]
