"""A tenant that writes another app's key into the status of its own License takes no customer over."""

from __future__ import annotations

from pathlib import Path

import pytest

from pullgate.licensing.keys import digest_text, key_digest, key_id
from pullgate.store.port import Key
from tests.support.gate import APP, Gate, license_, registry, running
from tests.support.images import image
from tests.support.upstreams import ScriptedRegistry

EVIL = "evil"
"""First by name, too: after a restart its License is read first."""


async def forge(gate: Gate, key: str) -> None:
    """Let the other app's License say that `key` is an older one of its own."""
    digest, name = key_digest(key), (EVIL, "mine")
    own = Key("License", *name)
    status = ((await gate.store.get(own)) or {})["status"]
    forged = {
        "id": key_id(digest),
        "digest": digest_text(digest),
        "issuedAt": "2026-01-01T00:00:00Z",
        "replacedAt": "2026-01-02T00:00:00Z",
        "expiresAt": "2096-01-01T00:00:00Z",
    }
    await gate.store.patch_status(own, {**status, "keys": [*status["keys"], forged]})
    names = [EVIL, APP]
    await gate.until(lambda: sorted(e.license.namespace for e in gate.proxy.snapshot.keys(digest)) == sorted(names))


@pytest.mark.parametrize("first", [APP, EVIL])
async def test_a_forged_status_serves_no_customer_another_apps_image_and_costs_no_pull_that_names_its_app(
    tmp_path: Path, first: str
) -> None:
    async with ScriptedRegistry() as upstream, ScriptedRegistry(bind="127.0.0.2") as other:
        right, wrong = image("right"), image("wrong")
        upstream.add("my-org/api", "1.0", right)
        other.add("my-org/api", "1.0", wrong)
        life = {"keys": {"overlap": "36500d"}}
        documents = {
            APP: [registry("up", upstream.host), license_("acme")],
            EVIL: [
                registry("up", other.host, namespace=EVIL),
                registry("same", upstream.host, namespace=EVIL),
                license_("mine", namespace=EVIL, **life),
            ],
        }
        second = EVIL if first == APP else APP
        async with running(tmp_path, *documents[first], *documents[second]) as gate:
            key = gate.key("acme")
            await forge(gate, key)
            named = await gate.get(f"/v2/proxy/{APP}/up/my-org/api/manifests/1.0", key)
            assert (named.status, named.body) == (200, right.manifest)
            mirrored = await gate.get(f"/v2/my-org/api/manifests/1.0?ns={upstream.host}", key)
            assert mirrored.fault == "KeyUnknown"
            await gate.delete("License", "mine", EVIL)
            await gate.until(lambda: len(gate.proxy.snapshot.keys(key_digest(key))) == 1)
            assert (await gate.get(f"/v2/my-org/api/manifests/1.0?ns={upstream.host}", key)).body == right.manifest
