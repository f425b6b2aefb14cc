"""One image, from its reference to its layers."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Sequence

from pullgate import faults
from pullgate.oci.manifest import Platform
from pullgate.upstream.client import Upstream
from pullgate.upstream.probe.result import (
    ImageResult,
    PlatformResult,
    ProbeTarget,
    failed_platform,
    failed_result,
)
from pullgate.upstream.probe.run import Found, Run, Source

INDEX_DEPTH = 3
"""Indexes within indexes."""


async def probe_image(run: Run, target: ProbeTarget, upstream: Upstream) -> ImageResult:
    """How `target` fares. Raises nothing of an upstream: its fault is in the result."""
    return dataclasses.replace(await _probe_image(run, target, upstream), notice=_notice_of(upstream))


def _notice_of(upstream: Upstream) -> str:
    """The sentence that a proxy, asked as an upstream, says to this test beside its answers."""
    if upstream.counted_as_customer:
        return (
            "the proxy did not take this for a test: it counts as the customer's pulls; compare the clocks and versions"
        )
    if upstream.limit_used:
        return f"{upstream.limit_used}: its own pulls are refused now (LimitReached); wait, or give it a higher limit"
    return ""


async def _probe_image(run: Run, target: ProbeTarget, upstream: Upstream) -> ImageResult:
    began = time.monotonic()
    source = Source(upstream, target.repository)
    try:
        root = await run.manifest(source, target.reference)
    except faults.Fault as fault:
        return failed_result(target, fault, time.monotonic() - began)
    platforms = await _Walk(run, target, source).examine(root, "", 0)
    bad = next((platform for platform in platforms if not platform.passed), None)
    return ImageResult(
        target.image,
        passed=bad is None,
        digest=root.digest,
        platforms=tuple(platforms),
        size=sum(platform.size for platform in platforms),
        duration=time.monotonic() - began,
        reason=bad.reason if bad else "",
        message=bad.message if bad else "",
        hint=bad.hint if bad else "",
    )


def matches(platform: Platform, wanted: str) -> bool:
    """True if a node of the `wanted` platform runs it; without a variant any matches. arm64 is arm64/v8."""
    system, _, rest = wanted.partition("/")
    architecture, _, variant = rest.partition("/")
    if (platform.os, platform.architecture) != (system, architecture):
        return False
    implied = "v8" if architecture == "arm64" else ""
    return not variant or variant == (platform.variant or implied)


class _Walk:
    """Examines all manifests and blobs below one image's root."""

    def __init__(self, run: Run, target: ProbeTarget, source: Source) -> None:
        self._run, self._target, self._source = run, target, source
        self._wanted = run.options.platforms

    async def examine(self, found: Found, platform: str, depth: int) -> list[PlatformResult]:
        """The results of a manifest, or of those in an index."""
        if not found.manifest.is_index:
            return await self._examine_manifest(found, platform)
        if depth == INDEX_DEPTH:
            fault = faults.UpstreamProtocol(self._source.host, "its indexes name each other without end")
            return [self._failed(platform, fault, found.digest)]
        children, missing = self._choose(found)
        if not children and not missing:
            return [self._failed(platform, self._lacks("any platform", ()), found.digest)]
        results = await asyncio.gather(*(self._examine_child(name, digest, depth) for name, digest in children))
        return [row for rows in results for row in rows] + missing

    def _choose(self, found: Found) -> tuple[list[tuple[str, str]], list[PlatformResult]]:
        """Name and digest of the children that count, and the results of platforms that no child is for."""
        manifest = found.manifest
        # BuildKit's attestations stand in an index as unknown/unknown.
        named = [
            (platform, digest)
            for platform, digest in zip(manifest.platforms, manifest.children, strict=True)
            if platform is None or "unknown" not in (platform.os, platform.architecture)
        ]
        if not self._wanted:
            return list(dict.fromkeys((str(platform or ""), digest) for platform, digest in named)), []
        known = [(platform, digest) for platform, digest in named if platform is not None]
        children: list[tuple[str, str]] = []
        missing: list[PlatformResult] = []
        for wanted in self._wanted:
            fitting = [(str(platform), digest) for platform, digest in known if matches(platform, wanted)]
            children += fitting
            if not fitting:
                missing.append(self._failed(wanted, self._lacks(wanted, [platform for platform, _ in known])))
        return list(dict.fromkeys(children)), missing

    async def _examine_child(self, name: str, digest: str, depth: int) -> list[PlatformResult]:
        try:
            found = await self._run.manifest(self._source, digest)
        except faults.Fault as fault:
            return [self._failed(name, fault, digest)]
        return await self.examine(found, name, depth + 1)

    async def _examine_manifest(self, found: Found, name: str) -> list[PlatformResult]:
        if name or not self._wanted or found.manifest.config is None:
            return [await self._examine_blobs(found, name)]
        # No index says what it is for, but somebody wants to know.
        try:
            platform = await self._run.platform(self._source, found.manifest.config)
        except faults.Fault as fault:
            return [self._failed("", fault, found.digest)]
        if platform is None:
            return [await self._examine_blobs(found, "")]
        unmet = [wanted for wanted in self._wanted if not matches(platform, wanted)]
        missing = [self._failed(wanted, self._lacks(wanted, [platform])) for wanted in unmet]
        if len(missing) == len(self._wanted):
            return missing
        return [await self._examine_blobs(found, str(platform)), *missing]

    async def _examine_blobs(self, found: Found, name: str) -> PlatformResult:
        manifest = found.manifest
        size = sum(bytes_ or 0 for bytes_ in manifest.sizes)
        if self._run.options.depth != "Manifest":
            asked = [(d, s) for d, s in zip(manifest.blobs, manifest.sizes, strict=True) if d not in manifest.foreign]
            ends = await asyncio.gather(*(self._examine_blob(digest, bytes_) for digest, bytes_ in asked))
            fault = next((end for end in ends if end is not None), None)
            if fault is not None:
                return self._failed(name, fault, found.digest, size)
        return PlatformResult(name, True, found.digest, size)

    async def _examine_blob(self, digest: str, expected: int | None) -> faults.Fault | None:
        try:
            length = await self._run.blob(self._source, digest)
        except faults.Fault as fault:
            return fault
        if None not in (length, expected) and length != expected:
            words = f"{digest} has {length} bytes, its manifest says {expected}"
            return faults.UpstreamProtocol(self._source.host, words)
        return None

    def _lacks(self, wanted: str, there: Sequence[Platform]) -> faults.Fault:
        target = self._target
        image = f"{target.repository}{'@' if ':' in target.reference else ':'}{target.reference}"
        have = ", ".join(dict.fromkeys(str(platform) for platform in there)) or "none"
        words = f"{image} on {self._source.host} is not for {wanted}: it has {have}"
        return faults.fault_in_words("ManifestUnknown", words, hint=f"build and push it for {wanted}, too")

    def _failed(self, name: str, fault: faults.Fault, digest: str = "", size: int = 0) -> PlatformResult:
        return failed_platform(name, fault, self._target.hint, digest, size)
