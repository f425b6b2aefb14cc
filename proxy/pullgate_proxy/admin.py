"""The separate port: /metrics for Prometheus, /healthz and /readyz for probes. Customers never reach it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from pullgate_proxy.metrics import Metrics
from pullgate_proxy.state.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether requests should be sent here, and why not."""

    ready: bool
    why: str
    watch: str = ""
    """What is wrong with the watch of the cluster; what was last seen of it is used meanwhile."""


def build_admin(metrics: Metrics, snapshot: Snapshot, readiness: Callable[[], Readiness]) -> web.Application:
    """The admin application."""

    async def answer_metrics(_: web.Request) -> web.Response:
        readiness()  # sets what it looks at
        for kind, count in snapshot.counts().items():
            metrics.known.labels(kind).set(count)
        metrics.synced.set(snapshot.synced)
        return web.Response(body=metrics.render(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def answer_health(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def answer_ready(_: web.Request) -> web.Response:
        state = readiness()
        body = {"ready": state.ready, "why": state.why, "watch": state.watch or "ok", "known": snapshot.counts()}
        return web.Response(text=json.dumps(body) + "\n", status=200 if state.ready else 503)

    app = web.Application()
    app.router.add_get("/metrics", answer_metrics)
    app.router.add_get("/healthz", answer_health)
    app.router.add_get("/readyz", answer_ready)
    return app
