"""Requests of one run: bounded in number and time, retried if the error may be temporary, and each made once."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pullgate import faults
from pullgate.oci.json_text import read_json
from pullgate.oci.manifest import MANIFEST_TYPES, Manifest, Platform, parse_manifest
from pullgate.upstream.blob import stream_blob
from pullgate.upstream.client import Upstream
from pullgate.upstream.config import UpstreamConfig
from pullgate.upstream.failures import Transient
from pullgate.upstream.manifest import fetch_manifest
from pullgate.upstream.probe.result import ProbeOptions
from pullgate.upstream.request import Kind, UpstreamRequest
from pullgate.upstream.retry import wait_before

CONFIG_LIMIT = 4 * 1024 * 1024
"""Bytes of a config that is read for its platform."""

_MAY_PASS = (
    faults.UpstreamUnreachable,
    faults.UpstreamTimeout,
    faults.UpstreamError,
    faults.UpstreamRateLimited,
    faults.ProofPending,
    faults.LimitReached,
    faults.ShareReached,
    faults.TooManyAttempts,
    faults.ShuttingDown,
    faults.Overloaded,
)
_OF_THE_HOST = (faults.UpstreamUnreachable, faults.UpstreamTLS)

T = TypeVar("T")
_Key = tuple[UpstreamConfig, str, str]


@dataclass(frozen=True, slots=True)
class Found:
    """A manifest that is there."""

    digest: str
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Source:
    """A repository of an upstream."""

    upstream: Upstream
    repository: str

    @property
    def host(self) -> str:
        """In words."""
        return self.upstream.config.host

    def request(self, method: str, kind: str, reference: str) -> UpstreamRequest:
        """A read; it makes a proxy ask the upstream, so that no cache decides."""
        return UpstreamRequest(
            "HEAD" if method == "HEAD" else "GET",
            self.repository,
            "manifests" if kind == "manifests" else "blobs",
            reference,
            accept=MANIFEST_TYPES if kind == "manifests" else (),
            fresh=self.upstream.config.pullgate,
        )


class _Once(Generic[T]):
    """Answers by what was asked; who asks the same again waits for the first answer, or fault."""

    def __init__(self) -> None:
        self._tasks: dict[_Key, asyncio.Task[T]] = {}

    async def get(self, source: Source, reference: str, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        key = (source.upstream.config, source.repository, reference)
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.create_task(ask())
            task.add_done_callback(lambda done: done.cancelled() or done.exception())  # seen, also if nobody waits
        return await asyncio.shield(task)

    async def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)


class Run:
    """One run. A blob is known by its repository, too: what lies in one cannot be pulled from another."""

    def __init__(self, options: ProbeOptions) -> None:
        self.options = options
        self.ends_at = asyncio.get_running_loop().time() + options.timeout
        self._slots = asyncio.Semaphore(options.concurrency)
        self._host_slots: dict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(options.per_host))
        self._manifests: _Once[Found] = _Once()
        self._blobs: _Once[int | None] = _Once()
        self._platforms: _Once[Platform | None] = _Once()
        self._answered: set[UpstreamConfig] = set()
        self._down: dict[UpstreamConfig, faults.Fault] = {}
        """Upstreams that never answered and were given up: they are not waited for again for each image."""

    @property
    def over(self) -> faults.Fault:
        """The fault of an image whose test did not finish in time."""
        words = f"not finished: the time of the whole run, {self.options.timeout:g} s, was over"
        return faults.fault_in_words("UpstreamTimeout", words, hint="allow more time, or test fewer images at once")

    async def manifest(self, source: Source, reference: str) -> Found:
        """A manifest, verified and parsed. Raises a fault."""
        return await self._manifests.get(source, reference, lambda: self._fetch_manifest(source, reference))

    async def blob(self, source: Source, digest: str) -> int | None:
        """That a blob is there, with its bytes as far as they are known; read and verified by depth. Raises a fault."""
        download = self.options.depth == "Download"
        ask = _download if download else _head
        return await self._blobs.get(source, digest, lambda: self._patiently(source, lambda: ask(source, digest)))

    async def platform(self, source: Source, config: str) -> Platform | None:
        """The platform that an image's config names; None if it is no image's. Raises a fault."""
        return await self._platforms.get(
            source, config, lambda: self._patiently(source, lambda: _read_platform(source, config))
        )

    async def close(self) -> None:
        """End what is still asked."""
        for asked in (self._manifests, self._blobs, self._platforms):
            await asked.close()

    async def _fetch_manifest(self, source: Source, reference: str) -> Found:
        request = source.request("GET", "manifests", reference)
        fetched = await self._patiently(
            source, lambda: _bounded(source, fetch_manifest(source.upstream, request), "manifests")
        )
        try:
            return Found(fetched.digest, parse_manifest(fetched.body, fetched.media_type))
        except ValueError as error:
            raise faults.UpstreamProtocol(source.host, str(error)) from None

    async def _patiently(self, source: Source, ask: Callable[[], Awaitable[T]]) -> T:
        """Return the result of `ask`; retry it while its fault may be temporary and time is left."""
        config = source.upstream.config
        for tries in itertools.count():
            fault: faults.Fault
            try:
                async with self._slot(config):
                    answer = await ask()
                    self._answered.add(config)
                    return answer
            except Transient as transient:
                fault = transient.fault
            except _MAY_PASS as passing:
                fault = passing
            wait = (fault.retry_after or 0.0) + wait_before(tries)
            too_late = asyncio.get_running_loop().time() + wait >= self.ends_at
            if tries == self.options.retries or too_late or config in self._down:
                break
            await asyncio.sleep(wait)
        self._note(config, fault)
        raise fault

    def _note(self, config: UpstreamConfig, fault: faults.Fault) -> None:
        """Remember a host that cannot be reached. A proxy's word is about one upstream of many."""
        is_down = isinstance(fault, _OF_THE_HOST) and fault.no_connection and not fault.elsewhere
        if is_down and config not in self._answered and not config.pullgate:
            self._down.setdefault(config, fault)

    @contextlib.asynccontextmanager
    async def _slot(self, config: UpstreamConfig) -> AsyncIterator[None]:
        # The host's first: who waits for a slow host must not hold a place that others could use.
        async with self._host_slots[config.wire_host], self._slots:
            if config in self._down:
                raise faults.fault_in_words(self._down[config].reason, self._down[config].message)
            yield


async def _bounded(source: Source, answer: Awaitable[T], kind: Kind = "blobs") -> T:
    """`answer`, within the time that one of `kind` may take: token, redirects and headers together."""
    total = source.upstream.config.timeouts.total_of(kind)
    try:
        async with asyncio.timeout(total):
            return await answer
    except TimeoutError:
        pass
    raise faults.UpstreamTimeout(source.host, total)


async def _head(source: Source, digest: str) -> int | None:
    response = await _bounded(source, source.upstream.attempt(source.request("HEAD", "blobs", digest)))
    response.release()
    return response.length


async def _download(source: Source, digest: str) -> int:
    request = source.request("GET", "blobs", digest)
    stream = stream_blob(source.upstream, request, await _bounded(source, source.upstream.attempt(request)))
    size = 0
    try:
        async for chunk in stream:
            size += len(chunk)
    finally:
        await stream.aclose()
    return size


async def _read_platform(source: Source, config: str) -> Platform | None:
    response = await _bounded(source, source.upstream.attempt(source.request("GET", "blobs", config)))
    body = await response.read(CONFIG_LIMIT)
    try:
        document = read_json(body)
    except ValueError:
        return None
    if not isinstance(document, dict) or not document.get("os") or not document.get("architecture"):
        return None
    return Platform(str(document["os"]), str(document["architecture"]), str(document.get("variant") or ""))
