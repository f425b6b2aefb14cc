"""`pullgate doctor`: look at the installation, and name each problem and its fix."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from pullgate.words import count
from pullgate_cli.finding import Finding, ago
from pullgate_cli.options import ca_option
from pullgate_cli.place.options import COULD_NOT_RUN, FAILED, PASSED, Where, output_option, place_options, run_in

if TYPE_CHECKING:
    from pullgate.store.port import Document
    from pullgate_cli.doctor_status import Addresses
    from pullgate_cli.place.cluster import Cluster
    from pullgate_cli.place.folder import Folder
    from pullgate_cli.place.port import Place

SYSTEM = "pullgate-system"
LEASE_LATE_SECONDS = 60
CLOCK_SECONDS = 30
KINDS = ("Registry", "License", "ImageTest")


@click.command()
@click.option("--proxy", "proxy_url", metavar="URL", help="The customers' URL.  [default: as it was installed]")
@ca_option("CA of the proxy, PEM.")
@click.option(
    "--proxy-admin",
    "proxies",
    multiple=True,
    metavar="HOST:PORT",
    help="Admin port of a proxy; repeatable.  [default: each pod, through the API server]",
)
@click.option(
    "--operator-admin",
    "operators",
    multiple=True,
    metavar="HOST:PORT",
    help="Admin port of an operator; repeatable.  [default: each pod, through the API server]",
)
@click.option("-A", "--all-namespaces", is_flag=True, help="Look at the resources of every app.")
@output_option
@place_options
def doctor(
    where: Where,
    proxy_url: str | None,
    ca: Path | None,
    proxies: tuple[str, ...],
    operators: tuple[str, ...],
    all_namespaces: bool,
    output: str,
) -> None:
    """Look at the installation, the running operators and proxies, and the resources of an app.

    Exit code 0: no problem; 1: a problem; 2: it could not look at something, and found no problem elsewhere.
    """

    async def work(place: Place) -> int:
        from pullgate_cli.doctor_status import Addresses

        namespace = None if all_namespaces else place.namespace
        outside = _Outside(proxy_url or "", ca)
        findings = [f async for f in _examine(place, outside, Addresses(operators, proxies), namespace)]
        _print(place, findings, output)
        states = {finding.state for finding in findings}
        if "problem" in states:
            return FAILED
        return COULD_NOT_RUN if "unknown" in states else PASSED

    run_in(where, work)


@dataclass(frozen=True, slots=True)
class _Outside:
    """The proxy as customers reach it."""

    url: str
    ca: Path | None


async def _examine(place: Place, outside: _Outside, given: Addresses, namespace: str | None) -> AsyncIterator[Finding]:
    from pullgate_cli.doctor_status import look_at_addresses, look_at_pods
    from pullgate_cli.place.folder import Folder

    url = outside.url
    if isinstance(place, Folder):
        async for finding in _look_at_folder(place):
            yield finding
        served_url, admin = place.served_at()
        url = url or served_url
        async for finding in look_at_addresses("operator", given.operators):
            yield finding
        async for finding in look_at_addresses("proxy", given.proxies or ([admin] if admin else [])):
            yield finding
    else:
        cluster = cast("Cluster", place)
        async for finding in _look_at_cluster(cluster):
            yield finding
        async for finding in look_at_pods(cluster, given):
            yield finding
        url = url or await _installed_url(cluster)
    if url:
        async for finding in _look_at_proxy(url, outside.ca):
            yield finding
    async for finding in _look_at_kinds(place, namespace):
        yield finding


def _print(place: Place, findings: list[Finding], output: str) -> None:
    from pullgate_cli.printing import console, escape, print_data

    if output != "table":
        print_data({"place": place.title, "findings": [asdict(f) for f in findings]}, output)
        return
    out = console()
    marks = {"ok": "[green]✓[/]", "warning": "[yellow]![/]", "problem": "[red]✗[/]", "unknown": "[yellow]?[/]"}
    for finding in findings:
        out.print(f"{marks[finding.state]} [bold]{escape(finding.about)}[/] {escape(finding.text)}", soft_wrap=True)
        if finding.fix:
            out.print(f"    {escape(finding.fix)}", soft_wrap=True)
    bad, unknown = (sum(f.state == state for f in findings) for state in ("problem", "unknown"))
    words = f"[red]{count(bad, 'problem')}[/]" if bad else "no problem" if unknown else "[green]no problem[/]"
    out.print(words + (f"; [yellow]{unknown} could not be looked at[/]" if unknown else ""))


# --- the installation --------------------------------------------------------------------------------------------


async def _look_at_cluster(place: Cluster) -> AsyncIterator[Finding]:
    from pullgate.store.cluster.kinds import PLURALS
    from pullgate_cli.place.port import PlaceError

    for kind in KINDS:
        name = f"{PLURALS[kind]}.pullgate.dev"
        try:
            found = await _get(place, f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}")
        except PlaceError as error:
            yield Finding(f"CRD {name}", "unknown", f"not looked at: {error}")
            continue
        if found is None:
            yield Finding(f"CRD {name}", "problem", "is not installed", "kubectl apply -k deploy/crds")
        else:
            yield Finding(f"CRD {name}", "ok", "is installed")
    for name in ("pullgate-operator", "pullgate-proxy"):
        try:
            yield _judge_deployment(name, await _get(place, f"/apis/apps/v1/namespaces/{SYSTEM}/deployments/{name}"))
        except PlaceError as error:
            yield Finding(f"Deployment {name}", "unknown", f"not looked at: {error}")
    path = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases/pullgate-operator"
    try:
        yield _judge_lease(await _get(place, path))
    except PlaceError as error:
        yield Finding("Lease pullgate-operator", "unknown", f"not looked at: {error}")


async def _get(place: Cluster, path: str) -> dict[str, Any] | None:
    from pullgate.store.port import StoreUnavailable
    from pullgate_cli.place.port import PlaceError

    try:
        return await place.api.get(path)
    except StoreUnavailable as error:
        raise PlaceError(str(error)) from error


def _judge_deployment(name: str, found: dict[str, Any] | None) -> Finding:
    about = f"Deployment {name}"
    if found is None:
        return Finding(about, "problem", f"is not in {SYSTEM}", "kubectl apply -k overlay (docs/install.md)")
    wanted, ready = found["spec"].get("replicas", 1), found.get("status", {}).get("readyReplicas", 0)
    text = f"{ready} of {wanted} ready"
    if ready == wanted:
        return Finding(about, "ok", text)
    fix = f"kubectl -n {SYSTEM} describe pods -l app.kubernetes.io/name={name}"
    return Finding(about, "problem" if not ready else "warning", text, fix)


def _judge_lease(found: dict[str, Any] | None) -> Finding:
    about = "Lease pullgate-operator"
    if found is None:
        return Finding(about, "problem", "nobody has ever held it: no operator ran", f"kubectl -n {SYSTEM} get pods")
    spec = found["spec"]
    renewed = datetime.fromisoformat(str(spec.get("renewTime")).replace("Z", "+00:00"))
    age = (datetime.now(UTC) - renewed).total_seconds()
    holder = spec.get("holderIdentity") or "nobody"
    if abs(age) > LEASE_LATE_SECONDS or holder == "nobody":
        fix = f"no operator works, or a clock is wrong: kubectl -n {SYSTEM} logs deploy/pullgate-operator"
        return Finding(about, "problem", f"held by {holder}, renewed {age:.0f} s ago", fix)
    return Finding(about, "ok", f"held by {holder}")


async def _installed_url(place: Cluster) -> str:
    from pullgate_cli.place.port import PlaceError

    try:
        found = await _get(place, f"/api/v1/namespaces/{SYSTEM}/configmaps/pullgate")
    except PlaceError:
        return ""
    return str(((found or {}).get("data") or {}).get("PULLGATE_EXTERNAL_URL", ""))


async def _look_at_folder(place: Folder) -> AsyncIterator[Finding]:
    for problem in place.problems:
        yield Finding("file", "problem", problem, "mend it; the last good state goes on until then")
    if not place.problems:
        yield Finding("files", "ok", "every file is right")
    if not place.is_served():
        yield Finding("folder", "warning", "no process serves it", "pullgate standalone DIR")


# --- the proxy, from outside -------------------------------------------------------------------------------------


async def _look_at_proxy(url: str, ca: Path | None) -> AsyncIterator[Finding]:
    import aiohttp

    from pullgate.oci.challenge import parse_challenges
    from pullgate.tls_context import build_client_context, client_context, read_ca_file

    about = f"proxy {url}"
    timeout = aiohttp.ClientTimeout(total=10)
    try:
        context = build_client_context(read_ca_file(ca)) if ca is not None else client_context()
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"{url.rstrip('/')}/v2/", allow_redirects=False, ssl=context) as answer,
        ):
            status, headers = answer.status, answer.headers
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        words = f"does not answer: {error or type(error).__name__}"
        yield Finding(about, "problem", words, "look at DNS, the Ingress or Gateway, and its certificate (--ca)")
        return
    realm = next((c.parameters.get("realm", "") for c in parse_challenges(headers.getall("WWW-Authenticate", ()))), "")
    if status != 401 or not realm:
        yield Finding(
            about, "problem", f"answers {status} without a challenge: something else is there", "look at the route"
        )
    elif not realm.startswith(url.rstrip("/")):
        fix = "clients cannot log in: set PULLGATE_EXTERNAL_URL, and PULLGATE_TRUSTED_PROXY to your ingress's pods"
        yield Finding(about, "problem", f"sends clients to {realm} for a token", fix)
    else:
        yield Finding(about, "ok", "answers, and asks for a license")
    if "Date" in headers:
        for finding in _judge_clock(headers["Date"]):
            yield finding


def _judge_clock(date: str) -> Iterable[Finding]:
    """Compare the proxy's clock, from the Date header of its answer, with this machine's."""
    import email.utils

    try:
        moment = email.utils.parsedate_to_datetime(date)
    except (ValueError, TypeError, OverflowError):
        yield Finding("clock", "unknown", "not looked at: the Date header of the proxy's answer is no date")
        return
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)  # RFC 5322: -0000
    seconds = (datetime.now(UTC) - moment).total_seconds()
    if abs(seconds) > CLOCK_SECONDS:
        yield Finding("clock", "warning", f"the proxy's is {seconds:.0f} s behind this machine's", "Licenses end by it")


# --- resources ---------------------------------------------------------------------------------------------------


async def _look_at_kinds(place: Place, namespace: str | None) -> AsyncIterator[Finding]:
    """Judge the resources; an app without any is nothing to look at."""
    from pullgate_cli.place.port import PlaceError, words_for_nothing

    found: dict[str, list[Document]] = {}
    for kind in KINDS:
        try:
            found[kind] = await place.list(kind, namespace)
        except PlaceError as error:
            yield Finding(kind, "unknown", f"not looked at: {error}")
    if len(found) == len(KINDS) and not any(found.values()):
        words = await words_for_nothing(place, KINDS, namespace)
        yield Finding("resources", "unknown", words, "name the app with -n, or look at all with -A")
    for kind, documents in found.items():
        for finding in _judge_kind(kind, documents):
            yield finding


def _judge_kind(kind: str, documents: list[Document]) -> Iterable[Finding]:
    findings = [finding for document in documents if (finding := _judge(kind, document)) is not None]
    good = len(documents) - len(findings)
    if good:
        yield Finding(kind, "ok", f"{good} of {len(documents)} are well" + _oldest_check(kind, documents))
    yield from findings


def _oldest_check(kind: str, documents: list[Document]) -> str:
    """The age of the oldest status: the upstreams are not asked again here."""
    from pullgate.resources.fields import parse_time

    name, field = {"Registry": ("lastCheck", "time"), "ImageTest": ("lastRun", "startedAt")}.get(kind, ("", ""))
    statuses = [(document.get("status") or {}).get(name) or {} for document in documents]
    times = [parse_time(str(status[field])) for status in statuses if field in status]
    if not times:
        return ""
    age = ago((datetime.now(UTC) - min(times)).total_seconds())
    return f"; checked {age} ago" if len(times) == 1 else f"; the oldest check was {age} ago"


def _judge(kind: str, document: Document) -> Finding | None:
    """The finding about a resource; None if it is well."""
    from pullgate.resources.conditions import read_condition

    metadata = document["metadata"]
    about = f"{kind} {metadata['namespace']}/{metadata['name']}"
    ready = read_condition(document, "Ready")
    if document["spec"].get("suspend") or document["spec"].get("suspended") is not None:
        return None
    if not ready:
        return Finding(about, "warning", "nobody looked at it yet", "does the operator run?")
    if ready["status"] != "True":
        return Finding(about, "problem", f"{ready['reason']}: {ready['message']}")
    soon, valid = read_condition(document, "ExpiringSoon"), read_condition(document, "Valid")
    if valid.get("status", "True") != "True":
        return Finding(about, "warning", f"{valid['reason']}: {valid['message']}")
    if soon:
        return Finding(about, "warning", soon["message"])
    return None
