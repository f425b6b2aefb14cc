"""A leader that cannot renew its Lease has ended before another one may begin, and says why it did."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from pullgate_operator.app import Operator
from pullgate_operator.cluster.lease import LEASE_SECONDS, LeadershipLost
from pullgate_operator.settings import OperatorSettings

RENEWALS = 2


class ApiServer:
    """Knows one Lease and nothing else; after a few renewals it answers no question about it any more."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.specs: list[dict[str, Any]] = []
        self.renewed = 0.0
        self._ended = asyncio.Event()

    async def __aenter__(self) -> ApiServer:
        app = web.Application()
        app.router.add_route("*", "/apis/coordination.k8s.io/{tail:.*}", self._answer_lease)
        app.router.add_get("/{tail:.*}", self._answer_list)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ended.set()
        await self._runner.cleanup()

    def write_kubeconfig(self, path: Path) -> Path:
        host, port = self._runner.addresses[0][:2]
        named = {"clusters": [{"name": "c", "cluster": {"server": f"http://{host}:{port}"}}]}
        context = {"contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}], "current-context": "x"}
        path.write_text(json.dumps({**named, **context, "users": [{"name": "u", "user": {"token": "CANARY-lease"}}]}))
        return path

    async def _answer_lease(self, request: web.Request) -> web.Response:
        if len(self.specs) > RENEWALS:
            await self._ended.wait()
        if request.method in {"POST", "PUT"}:
            self.lease = json.loads(await request.read())
            self.specs.append(self.lease["spec"])
            self.renewed = time.monotonic()
        return web.json_response(self.lease or {}, status=200 if self.lease else 404)

    async def _answer_list(self, _: web.Request) -> web.Response:
        discovery: dict[str, list[str]] = {"groups": [], "versions": [], "resources": []}
        return web.json_response({"items": [], "metadata": {"resourceVersion": "1"}, **discovery})


async def test_a_leader_that_cannot_renew_ends_before_another_may_begin(tmp_path: Path) -> None:
    async with ApiServer() as server:
        kubeconfig = server.write_kubeconfig(tmp_path / "kubeconfig")
        operator = Operator(OperatorSettings("images.example", "one", admin_port=0, kubeconfig=kubeconfig))
        with pytest.raises(LeadershipLost, match="one could not renew its Lease in time"):
            await operator.run()
        assert time.monotonic() - server.renewed < LEASE_SECONDS
    first, *renewals = server.specs
    assert len(renewals) == RENEWALS
    for spec in renewals:
        assert spec["acquireTime"] == first["acquireTime"]
        assert spec["renewTime"] > first["renewTime"]
        assert spec["leaseTransitions"] == 0
