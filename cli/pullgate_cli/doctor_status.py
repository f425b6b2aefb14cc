"""The state of running operators and proxies, as /status of their admin ports tells it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pullgate_cli.finding import Finding, ago

if TYPE_CHECKING:
    from pullgate_cli.place.cluster import Cluster

SYSTEM: Final = "pullgate-system"
SECONDS: Final = 10.0
PODS: Final = 50
"""Pods that are asked; of more, these are enough to show what is wrong."""
BODY_LIMIT: Final = 64 * 1024
_NO_STATUS = "it has no /status: it is of another version, or no admin port is there"


@dataclass(frozen=True, slots=True)
class Addresses:
    """Admin ports that were named, as HOST:PORT."""

    operators: Sequence[str] = ()
    proxies: Sequence[str] = ()


async def look_at_pods(place: Cluster, given: Addresses) -> AsyncIterator[Finding]:
    """Ask each operator and proxy: at the given addresses, or in their pods through the API server."""
    for role, addresses in (("operator", given.operators), ("proxy", given.proxies)):
        rows = look_at_addresses(role, addresses) if addresses else _look_at_pods_of(place, role)
        async for finding in rows:
            yield finding


async def look_at_addresses(role: str, addresses: Sequence[str]) -> AsyncIterator[Finding]:
    """Ask the admin port at each address."""
    fix = f"is this the admin port of {'an' if role == 'operator' else 'a'} {role}, and does it run?"
    answers = await asyncio.gather(*(_ask(address) for address in addresses))
    for address, answer in zip(addresses, answers, strict=True):
        for finding in _judge(role, address, answer, fix):
            yield finding


async def _look_at_pods_of(place: Cluster, role: str) -> AsyncIterator[Finding]:
    from pullgate.store.port import StoreUnavailable

    name = f"pullgate-{role}"
    params = {"labelSelector": f"app.kubernetes.io/name={name}", "limit": str(PODS)}
    try:
        page = await place.api.list_page(f"/api/v1/namespaces/{SYSTEM}/pods", params)
    except StoreUnavailable as error:
        yield Finding(f"pods of {name}", "unknown", f"not looked at: {error}")
        return
    pods = [pod for pod in page["items"] if (pod.get("status") or {}).get("phase") == "Running"]
    if not pods:
        yield Finding(f"pods of {name}", "problem", "none is running", f"kubectl -n {SYSTEM} get pods")
    answers = await asyncio.gather(*(_ask_pod(place, pod) for pod in pods))
    for pod, answer in zip(pods, answers, strict=True):
        pod_name = pod["metadata"]["name"]
        fix = (
            f"kubectl -n {SYSTEM} port-forward {pod_name} 8081, then --{role}-admin localhost:8081: "
            "the API server needs the right pods/proxy, and a NetworkPolicy may keep it out"
        )
        for finding in _judge(role, pod_name, answer, fix):
            yield finding


async def _ask_pod(place: Cluster, pod: Mapping[str, Any]) -> dict[str, Any] | str:
    """The document of a pod's /status, or why there is none."""
    from pullgate.store.port import StoreUnavailable

    ports = [port for container in pod["spec"]["containers"] for port in container.get("ports") or ()]
    number = next((port["containerPort"] for port in ports if port.get("name") == "admin"), 8081)
    path = f"/api/v1/namespaces/{SYSTEM}/pods/{pod['metadata']['name']}:{number}/proxy/status"
    try:
        async with asyncio.timeout(SECONDS):
            return await place.api.get(path) or _NO_STATUS
    except (StoreUnavailable, ValueError) as error:
        return str(error)
    except TimeoutError:
        return f"no answer in {SECONDS:g} s"


async def _ask(address: str) -> dict[str, Any] | str:
    """The document of /status at HOST:PORT, or why there is none."""
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"http://{address}/status", allow_redirects=False) as answer,
        ):
            if answer.status != 200:
                return _NO_STATUS
            found = json.loads(await answer.content.read(BODY_LIMIT))
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        return str(error) or type(error).__name__
    return found if isinstance(found, dict) else _NO_STATUS


# --- one document ------------------------------------------------------------------------------------------------


def _judge(role: str, name: str, answer: Mapping[str, Any] | str, fix: str) -> Iterator[Finding]:
    about = f"{role} {name}"
    if isinstance(answer, str):
        yield Finding(about, "unknown", f"not looked at: {answer}", fix)
        return
    try:
        rows = list(_judge_document(about, role, answer))
    except (LookupError, TypeError, ValueError):
        yield Finding(about, "unknown", f"not looked at: {_NO_STATUS}", fix)
        return
    good = [row.text for row in rows if row.state == "ok"]
    if good:
        yield Finding(about, "ok", "; ".join(good))
    yield from (row for row in rows if row.state != "ok")


def _judge_document(about: str, role: str, status: Mapping[str, Any]) -> Iterator[Finding]:
    logs = f"look at its log: kubectl -n {SYSTEM} logs -l app.kubernetes.io/name=pullgate-{role}"
    if not status["ready"]:
        yield Finding(about, "problem", f"is not ready: {status['why']}", logs)
    if role == "operator":
        yield Finding(about, "ok", "leads" if status["leads"] else "stands by")
    yield from _judge_watch(f"{about}, watch", status["watch"], logs)
    if (disk := status.get("disk")) is not None:
        text = f"disk: {disk['files']} blobs, {disk['bytes'] / 2**30:.1f} GiB"
        yield _usable(about, "disk", text, disk["usable"], logs)
    if (store := status.get("objectStore")) is not None:
        yield _usable(about, "object store", "object store: works", store["usable"], logs)
    if (peers := status.get("peers")) is not None:
        text = f"peers: {peers['known']} replicas are known, {peers['down']} of them failed lately"
        if peers["down"] or not peers["known"]:
            yield Finding(f"{about}, peers", "warning", text, "is --peer a headless Service of all proxies?")
        else:
            yield Finding(about, "ok", f"peers: {peers['known']} replicas are known")


def _judge_watch(about: str, watch: Mapping[str, Any] | None, logs: str) -> Iterator[Finding]:
    if watch is None:  # a standby, or a proxy without a cluster
        return
    age = watch["ageSeconds"]
    heard = f"last event {ago(float(age))} ago" if age is not None else "no event yet"
    if watch["alive"]:
        yield Finding(about, "ok", f"watch: alive, {heard}")
        return
    why = f": {watch['problem']}" if watch.get("problem") else ""
    yield Finding(about, "problem", f"is dead, {heard}{why}; changes of resources take no effect", logs)


def _usable(about: str, part: str, text: str, usable: bool, logs: str) -> Finding:
    if usable:
        return Finding(about, "ok", text)
    return Finding(f"{about}, {part}", "problem", "fails, and is left alone; pulls go on without it", logs)
