"""The separate port: /metrics for Prometheus, /healthz and /readyz for probes, /usage for the operator.

Customers never reach it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from pullgate.store.cluster.reflector import Contact
from pullgate_proxy.metrics import Metrics
from pullgate_proxy.state.snapshot import Snapshot
from pullgate_proxy.upstreams import Upstreams
from pullgate_proxy.usage import UsageBook


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether requests should be sent here, and why not."""

    ready: bool
    why: str


def build_admin(
    metrics: Metrics,
    snapshot: Snapshot,
    usage: UsageBook,
    readiness: Callable[[], Readiness],
    contact: Contact | None,
    upstreams: Upstreams,
) -> web.Application:
    """The admin application. `contact` tells whether the cluster is heard; None where there is none."""
    heard = contact or Contact()

    async def answer_metrics(_: web.Request) -> web.Response:
        for kind, count in snapshot.counts().items():
            metrics.known.labels(kind).set(count)
        metrics.down.clear()
        for name in upstreams.down():
            metrics.down.labels(*name).set(1)
        metrics.synced.set(snapshot.synced)
        metrics.watch_connected.set(not heard.problem)
        metrics.watch_age.set(contact.age if contact is not None else 0)
        return web.Response(body=metrics.render(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def answer_health(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def answer_ready(_: web.Request) -> web.Response:
        state = readiness()
        body = {"ready": state.ready, "why": state.why, "watch": heard.problem or "ok", "known": snapshot.counts()}
        return web.Response(text=json.dumps(body) + "\n", status=200 if state.ready else 503)

    async def answer_usage(request: web.Request) -> web.Response:
        after = request.query.get("after", "0")
        number = int(after) if after.isascii() and after.isdigit() and len(after) < 19 else 0
        body = usage.render(request.query.get("instance", ""), number)
        return web.Response(body=body, content_type="application/json")

    app = web.Application()
    app.router.add_get("/usage", answer_usage)
    app.router.add_get("/metrics", answer_metrics)
    app.router.add_get("/healthz", answer_health)
    app.router.add_get("/readyz", answer_ready)
    return app
