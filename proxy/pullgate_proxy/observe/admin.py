"""The separate port: /metrics for Prometheus, /healthz and /readyz for probes, /usage for the operator, /status.

The other replicas ask /grants/… with a ticket.

Customers never reach it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from pullgate.store.cluster.reflector import Contact
from pullgate_proxy.limits.usage import UsageBook
from pullgate_proxy.observe.status import describe_status
from pullgate_proxy.peers.grants import GrantPeers


@dataclass(frozen=True, slots=True)
class Readiness:
    """The readiness of this process, and the reason if it is not ready."""

    ready: bool
    why: str


class Told(Protocol):
    """The server that the admin port reports on."""

    @property
    def usage(self) -> UsageBook:
        """The usage of the Licenses."""
        ...

    @property
    def grant_peers(self) -> GrantPeers:
        """Answers other replicas."""
        ...

    def readiness(self) -> Readiness:
        """The readiness for requests."""
        ...

    def known(self) -> dict[str, int]:
        """How many resources are known, by kind."""
        ...

    def render_metrics(self) -> bytes:
        """The Prometheus text format."""
        ...


def build_admin(told: Told, contact: Contact | None) -> web.Application:
    """The admin application of `told`. `contact` reports the connection to the cluster; None without a cluster."""
    heard = contact or Contact()

    async def answer_metrics(_: web.Request) -> web.Response:
        page = told.render_metrics()
        return web.Response(body=page, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def answer_health(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def answer_ready(_: web.Request) -> web.Response:
        state = told.readiness()
        body = {"ready": state.ready, "why": state.why, "watch": heard.problem or "ok", "known": told.known()}
        return web.Response(text=json.dumps(body) + "\n", status=200 if state.ready else 503)

    async def answer_status(_: web.Request) -> web.Response:
        state, page = told.readiness(), told.render_metrics().decode()
        body = describe_status(ready=state.ready, why=state.why, contact=contact, known=told.known(), metrics=page)
        return web.json_response(body)

    async def answer_usage(request: web.Request) -> web.Response:
        after = request.query.get("after", "0")
        number = int(after) if after.isascii() and after.isdigit() and len(after) < 19 else 0
        body = told.usage.render(request.query.get("instance", ""), number)
        return web.Response(body=body, content_type="application/json")

    app = web.Application()
    app.router.add_get("/usage", answer_usage)
    app.router.add_get("/grants/{entry}", told.grant_peers.answer, allow_head=False)
    app.router.add_get("/metrics", answer_metrics)
    app.router.add_get("/healthz", answer_health)
    app.router.add_get("/readyz", answer_ready)
    app.router.add_get("/status", answer_status)
    return app
