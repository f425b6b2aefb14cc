"""A gate that the operator runs: an ImageTest applied, waited for, and read."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from typing import Any

from pullgate.resources.conditions import read_condition
from pullgate.store.port import Document, Key
from pullgate.upstream.probe import ImageResult, PlatformResult, ProbeOptions
from pullgate_cli.gate.inputs import Images
from pullgate_cli.gate.report import VENDOR, Asked, Report
from pullgate_cli.place.port import Place, PlaceError, require
from pullgate_operator.plan.image_test import WAIT

POLL_SECONDS = 0.5
GRACE_SECONDS = 30.0 + WAIT.total_seconds()
"""Beyond the test's own time: the operator may be busy, and waits for a Registry that is not there."""


async def run_in_cluster(place: Place, images: Images, who: tuple[str, ...], options: ProbeOptions) -> Report:
    """One ImageTest for each who asks, run by the operator, and deleted by nobody: it is the record of the gate.

    Raises PlaceError if the operator cannot run a test, or does not complete it in time.
    """
    began = time.monotonic()
    runs = []
    for name in who:
        await require(place, "License", name)
    for name in who or ("",):
        document = _build(images, name, options)
        await _put(place, document)
        key = Key("ImageTest", place.namespace, document["metadata"]["name"])
        done = await _wait(place, key, options.timeout + GRACE_SECONDS)
        runs.append(Asked(name or VENDOR, _read(done, images)))
    return Report(tuple(runs), time.monotonic() - began, images.places)


def _build(images: Images, license_name: str, options: ProbeOptions) -> Document:
    spec: dict[str, Any] = {
        "images": list(images.names),
        "depth": options.depth,
        "timeout": f"{max(1, round(options.timeout))}s",
        "retries": options.retries,
    }
    if options.platforms:
        spec["platforms"] = list(options.platforms)
    if license_name:
        spec["as"] = {"licenseRef": {"name": license_name}}
    mark = hashlib.sha256(f"{time.time()} {json.dumps(spec)}".encode()).hexdigest()[:10]
    metadata = {"name": f"gate-{mark}", "labels": {"pullgate.dev/gate": "true"}}
    return {"apiVersion": "pullgate.dev/v1alpha1", "kind": "ImageTest", "metadata": metadata, "spec": spec}


async def _put(place: Place, document: Document) -> None:
    from pullgate.resources import InvalidResource, parse_resource

    try:
        parse_resource(document)
    except InvalidResource as error:
        raise PlaceError(str(error)) from error
    await place.create(document)


async def _wait(place: Place, key: Key, seconds: float) -> Document:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        document = await place.fresh(key)
        if document is None:
            raise PlaceError(f"ImageTest {key.name} was deleted before its end")
        if read_condition(document, "Complete").get("status") == "True":
            return document
        stalled = read_condition(document, "Stalled")
        if stalled:
            raise PlaceError(f"ImageTest {key.name}: {stalled['reason']}: {stalled['message']}")
        await asyncio.sleep(POLL_SECONDS)
    raise PlaceError(f"ImageTest {key.name} came to no end in {seconds:g} s; does the operator run?")


def _read(document: Document, images: Images) -> tuple[ImageResult, ...]:
    rows = {row["image"]: row for row in document["status"].get("results", ())}
    return tuple(_result(image, rows.get(image)) for image in images.names)


def _result(image: str, row: dict[str, Any] | None) -> ImageResult:
    if row is None:
        return ImageResult(image, True)  # the status leaves out what passed where it would be too large
    return ImageResult(
        image,
        bool(row["passed"]),
        row.get("digest", ""),
        tuple(PlatformResult(name, bool(row["passed"])) for name in row.get("platforms", ())),
        int(row.get("size", 0)),
        _seconds(row.get("duration", "")),
        row.get("reason", ""),
        "" if row["passed"] else row.get("message", ""),
        row.get("hint", ""),
        row.get("message", "") if row["passed"] else "",
    )


def _seconds(text: str) -> float:
    number = text.removesuffix("ms").removesuffix("s")
    try:
        return float(number) / (1000 if text.endswith("ms") else 1)
    except ValueError:
        return 0.0
