"""The search for secrets in what a cluster shows finds them in resources and Events, and passes Secrets over."""

from __future__ import annotations

from typing import Any

from tests.support.canaries import FOUND
from tests.support.cluster.kubectl import Kubectl
from tests.support.cluster.look import look_at_resources
from tests.support.gate import license_, secret

PLANTED = "CANARY-planted"


def event(app: str) -> dict[str, Any]:
    about = {"kind": "License", "namespace": app, "name": "acme"}
    metadata = {"name": "planted", "namespace": app}
    body = {"involvedObject": about, "message": f"x {PLANTED} y", "reason": "Planted", "type": "Normal"}
    return {"apiVersion": "v1", "kind": "Event", "metadata": metadata, **body}


def test_a_secret_in_a_status_or_an_event_is_found(cluster: Kubectl, app: str) -> None:
    cluster.apply(secret("robot", "puller", PLANTED, namespace=app), license_("acme", namespace=app))
    look_at_resources(cluster, "-n", app)
    assert not FOUND
    cluster.apply(event(app))
    patch = f'{{"status":{{"secrets":{{"license":"{PLANTED}"}}}}}}'
    cluster.kubectl("patch", "license/acme", "-n", app, "--subresource=status", "--type=merge", "-p", patch)
    look_at_resources(cluster, "-n", app)
    places, FOUND[:] = {found.place for found in FOUND}, []
    assert places == {f"Event {app}/planted", f"License {app}/acme"}
    cluster.kubectl("delete", "event/planted", "license/acme", "-n", app)
