"""The answer to the same request a moment ago, while nothing that it came from has changed.

Each time, the client is identified and the License's validity is checked. After that, the answer of route, authorize
and the manifest cache is a function of the License, the Registries, the request and the cache's content. So the answer
is cached with these very objects. It is valid while they are the same and the manifest is fresh. A changed License is
a new object, so it never matches a cached answer.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Final

from multidict import CIMultiDictProxy

from pullgate.policy.facts import LicenseFacts
from pullgate_proxy.pipeline.forward import Answer
from pullgate_proxy.pipeline.relay import COMMON_HEADERS
from pullgate_proxy.pipeline.whole import render_head
from pullgate_proxy.request.parse import Kind, PullRequest

LIMIT: Final = 4096
LARGEST: Final = 64 * 1024
"""Bytes of a manifest that is kept once more, for its head: the body itself is the cache's."""

Asked = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class _Known:
    license: LicenseFacts
    registries: int
    until: float
    registry: str
    answer: Answer


class Recall:
    """At most LIMIT answers; the one that was asked for longest ago goes first."""

    def __init__(self) -> None:
        self._known: OrderedDict[Asked, _Known] = OrderedDict()

    def find(
        self, asked: Asked | None, license_: LicenseFacts, registries: int, now: float
    ) -> tuple[str, Answer] | None:
        """Registry and answer, if they still stand at `now` (monotonic); `registries` is the version of all of them."""
        known = self._known.get(asked) if asked is not None else None
        if known is None or asked is None:
            return None
        if known.license is not license_ or known.registries != registries or now >= known.until:
            del self._known[asked]
            return None
        self._known.move_to_end(asked)
        return known.registry, known.answer

    def note(self, asked: Asked | None, license_: LicenseFacts, registries: int, registry: str, answer: Answer) -> None:
        """Keep `answer`, if it may be given again."""
        if asked is None or not answer.young_until or len(answer.body) > LARGEST:
            return
        headers = {**COMMON_HEADERS, **answer.headers}
        headers.setdefault("Content-Length", str(len(answer.body)))
        kept = replace(answer, head=render_head(answer.status, headers))
        self._known[asked] = _Known(license_, registries, answer.young_until, registry, kept)
        if len(self._known) > LIMIT:
            self._known.popitem(last=False)


def asked_of(
    key: bytes, request: PullRequest, raw_path: str, host: str, headers: CIMultiDictProxy[str]
) -> Asked | None:
    """The cache key of a request by the client's license key `key`; None if its answer is not cached.

    A request with Cache-Control is never cached: a test sends it so that the upstream is asked.
    """
    if request.kind is not Kind.MANIFESTS or "Cache-Control" in headers:
        return None
    return (key, request.method, raw_path, host, *headers.getall("Accept", ()))
