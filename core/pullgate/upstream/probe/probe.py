"""Is it pullable? One image, or many at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence

from pullgate.upstream.client import Upstream
from pullgate.upstream.config import UpstreamConfig
from pullgate.upstream.probe.image import probe_image
from pullgate.upstream.probe.result import ImageResult, ProbeOptions, ProbeTarget, failed_result
from pullgate.upstream.probe.run import Run

OnResult = Callable[[ImageResult], None]


async def probe(target: ProbeTarget, options: ProbeOptions, client: Upstream) -> ImageResult:
    """How `target` fares, asked of `client`, which is for `target.config`. Raises nothing of an upstream."""
    return (await _probe([target], options, lambda _: client, None))[0]


async def probe_all(
    targets: Sequence[ProbeTarget], options: ProbeOptions, *, on_result: OnResult | None = None
) -> list[ImageResult]:
    """The result of each of `targets`, in their order; `on_result` receives each as soon as it is known.

    An image that is not finished after `options.timeout` seconds fails with UpstreamTimeout.
    """
    async with contextlib.AsyncExitStack() as stack:
        clients: dict[UpstreamConfig, Upstream] = {}
        for config in {target.config for target in targets}:
            clients[config] = await stack.enter_async_context(Upstream(config))
        return await _probe(targets, options, lambda config: clients[config], on_result)


async def _probe(
    targets: Sequence[ProbeTarget],
    options: ProbeOptions,
    client_of: Callable[[UpstreamConfig], Upstream],
    on_result: OnResult | None,
) -> list[ImageResult]:
    run = Run(options)
    places = asyncio.Semaphore(options.concurrency)
    results: dict[int, ImageResult] = {}

    def note(place: int, result: ImageResult) -> None:
        results[place] = result
        if on_result is not None:
            on_result(result)

    async def one(place: int, target: ProbeTarget) -> None:
        async with places:
            note(place, await probe_image(run, target, client_of(target.config)))

    tasks = [asyncio.create_task(one(place, target)) for place, target in enumerate(targets)]
    try:
        if tasks:
            done, _ = await asyncio.wait(tasks, timeout=options.timeout, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await run.close()
    for place, target in enumerate(targets):
        if place not in results:
            note(place, failed_result(target, run.over, options.timeout))
    return [results[place] for place in range(len(targets))]
