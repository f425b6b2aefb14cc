"""Kopf's requests show the state of its watches; kopf ends in order before an answer that would crash it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from pullgate_operator.handlers.watches import LATE_SECONDS, NOBODY, Watches

PATH = "/apis/pullgate.dev/v1alpha1/"
Ask = Callable[[str], Awaitable[int]]


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Stage:
    """An API server that answers every request with `status`, and the Watches that observe its client."""

    def __init__(self) -> None:
        self.status = 200
        self.queries: list[dict[str, str]] = []
        self.ended = 0
        self.clock = Clock()
        self.watches = Watches({"License", "Secret"}, self.end, self.clock)

    def end(self) -> None:
        self.ended += 1

    async def answer(self, request: web.Request) -> web.Response:
        self.queries.append(dict(request.query))
        return web.Response(status=self.status)


@pytest.fixture
async def stage() -> Stage:
    return Stage()


@pytest.fixture
async def ask(stage: Stage) -> AsyncIterator[Ask]:
    app = web.Application()
    app.router.add_get("/{path:.*}", stage.answer)
    async with TestServer(app) as server, aiohttp.ClientSession(middlewares=(stage.watches.note,)) as session:

        async def get(path: str) -> int:
            async with session.get(server.make_url(path)) as response:
                return response.status

        yield get


async def test_all_is_well_once_every_kind_is_watched(stage: Stage, ask: Ask) -> None:
    assert stage.watches.problem == "License is not watched yet; Secret is not watched yet"
    for path in (f"{PATH}licenses?watch=true", "/api/v1/secrets?watch=true"):
        await ask(path)
    assert stage.watches.problem == ""


async def test_a_list_of_kopf_is_empty_and_what_it_would_have_told_is_looked_for(stage: Stage, ask: Ask) -> None:
    await ask(f"{PATH}licenses?limit=500")
    await ask("/api/v1/secrets?watch=true&resourceVersion=7")
    await ask(f"{PATH}registries")
    assert [query.get("fieldSelector") for query in stage.queries] == [NOBODY, None, None]
    assert await stage.watches.wait_for_list() == {"License"}


@pytest.mark.parametrize("status", [400, 404, 410])
@pytest.mark.parametrize("path", [f"{PATH}licenses?watch=true", "/apis/x/v1/customresourcedefinitions?watch=true"])
async def test_kopf_is_ended_in_order_before_it_sees_what_it_would_fall_over(
    stage: Stage, ask: Ask, status: int, path: str
) -> None:
    stage.status = status
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.3):
            pytest.fail(f"kopf saw {await ask(path)}")
    assert stage.ended == 1
    assert f"answers {status}" in stage.watches.refused


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
async def test_what_kopf_asks_again_after_it_sees_and_the_problem_names_it(stage: Stage, ask: Ask, status: int) -> None:
    stage.status = status
    assert await ask(f"{PATH}licenses?watch=true") == status
    assert stage.ended == 0
    assert f"License is not watched: the API server answers {status}" in stage.watches.problem
    stage.status = 200
    await ask(f"{PATH}licenses?watch=true")
    assert "License" not in stage.watches.problem


async def test_a_watch_that_is_asked_for_no_more_is_lost_and_a_refused_or_absent_one_is_not(
    stage: Stage, ask: Ask
) -> None:
    await ask(f"{PATH}licenses?watch=true")
    await ask("/api/v1/secrets?watch=true")
    stage.clock.now += LATE_SECONDS + 1
    assert stage.watches.lost == ["License", "Secret"]
    assert "License is watched no more" in stage.watches.problem
    stage.watches.lose("License")
    stage.status = 503
    await ask("/api/v1/secrets?watch=true")
    assert stage.watches.lost == []
    assert "its CRD is not there" in stage.watches.problem
