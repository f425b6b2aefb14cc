"""`pullgate explain`: why a License may pull an image, or not."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from pullgate_cli.place.options import COULD_NOT_RUN, FAILED, PASSED, Where, output_option, place_options, run_in

if TYPE_CHECKING:
    from pullgate.oci.reference import Reference
    from pullgate.policy.explain import Explanation, Step
    from pullgate.policy.facts import LicenseFacts
    from pullgate.policy.route import Route
    from pullgate.upstream.client import Upstream
    from pullgate_cli.place.port import Place

_GRANTS = 100_000
_LISTS = 16


@click.command()
@click.argument("license_name", metavar="LICENSE")
@click.argument("reference_text", metavar="REF")
@click.option("--at", metavar="DATE", help="As of this day.  [default: now]")
@click.option("--offline", is_flag=True, help="Do not ask the upstream.")
@output_option
@place_options
def explain(where: Where, license_name: str, reference_text: str, at: str | None, offline: bool, output: str) -> None:
    """Explain, step by step, what the proxy decides when LICENSE pulls REF, and what decided it.

    REF is what the customer writes (images.example.com/proxy/my-app/quay/my-org/api:1), or the upstream's own name
    (quay.io/my-org/api:1). Exit code 0: it may be pulled; 1: not; 2: unknown.
    """
    from pullgate.oci.reference import InvalidReference, parse_reference
    from pullgate_cli.license.change import parse_end

    now = parse_end(at, "--at") if at else datetime.now(UTC)
    try:
        reference = parse_reference(reference_text)
    except InvalidReference as error:
        raise click.BadParameter(str(error), param_hint="REF") from error

    async def work(place: Place) -> int:
        license_, explanation = await _explain(place, license_name, reference, now)
        steps = list(explanation.steps)
        if explanation.passed and explanation.route is not None:
            steps += await _ask(place, license_, explanation.route, reference, offline)
            proven = {step.name for step in steps if step.passed is not None}
            steps = [step for step in steps if step.passed is not None or step.name not in proven]
        _print(license_name, reference, steps, output)
        verdict = _verdict(steps)
        return COULD_NOT_RUN if verdict is None else PASSED if verdict else FAILED

    run_in(where, work)


def _verdict(steps: list[Step]) -> bool | None:
    """True if the image may be pulled; None if a step could not tell."""
    passed = [step.passed for step in steps]
    return False if False in passed else None if None in passed else True


async def _explain(place: Place, name: str, reference: Reference, now: datetime) -> tuple[LicenseFacts, Explanation]:
    from pullgate.policy.explain import explain as explain_pull
    from pullgate.providers.domain_claim import DomainClaim
    from pullgate.resources import InvalidResource, License, Registry, parse_resource
    from pullgate.resources.compile import held_domains, license_facts
    from pullgate.store.port import Change, Key
    from pullgate_cli.place.port import PlaceError, require
    from pullgate_proxy.state.snapshot import Snapshot
    from pullgate_proxy.state.watch import apply_change

    document = await require(place, "License", name)
    snapshot = Snapshot()
    try:
        resource = parse_resource(document)
        # No other app's Registry matters, and few may list those.
        for registry in await place.list("Registry", place.namespace):
            apply_change(Change(Key.of(registry), registry), snapshot)
            found = parse_resource(registry)
            for domain in held_domains(found) if isinstance(found, Registry) else ():
                meta = found.metadata
                snapshot.put_claim(domain, DomainClaim(domain, meta.namespace, meta.name, meta.uid, now))
    except InvalidResource as error:
        raise PlaceError(str(error)) from error
    if not isinstance(resource, License):
        raise TypeError("no License")
    facts = license_facts(resource)
    return facts, explain_pull(snapshot, facts, reference, now)


async def _ask(place: Place, license_: LicenseFacts, route: Route, reference: Reference, offline: bool) -> list[Step]:
    """The steps that need more than the resources: the credentials, and the upstream."""
    from pullgate.faults import Fault
    from pullgate.oci.manifest import MANIFEST_TYPES
    from pullgate.policy.explain import Step
    from pullgate.providers.hints import hint
    from pullgate.upstream.client import Upstream
    from pullgate.upstream.request import UpstreamRequest
    from pullgate_cli.registry.subject import fetch_subject

    subject = await fetch_subject(place, route.registry.name)
    if subject.problem:
        fix = f"vendor: {subject.fix}"
        return [Step("credentials", False, subject.problem, "spec.credentials", "CredentialsMissing", fix)]
    user = subject.config.credentials.account if subject.config.credentials is not None else "anonymous"
    steps = [Step("credentials", True, f"{user}, of Registry {route.registry.name}", "spec.credentials")]
    if offline:
        return [*steps, Step("upstream", None, "not asked (--offline)")]
    request = UpstreamRequest("GET", route.repository, "manifests", reference.target, accept=MANIFEST_TYPES)
    async with Upstream(subject.config) as upstream:
        try:
            found = await upstream.fetch_manifest(request)
        except Fault as fault:
            issued = subject.was_issued
            words = hint(route.registry.type, fault, username=user, repository=route.repository, was_issued=issued)
            who = " or ".join(fault.actors)
            return [*steps, Step("upstream", False, fault.for_vendor, "", fault.reason, f"{who}: {words}")]
        steps.append(Step("upstream", True, f"{route.registry.host} has it: {found.digest}"))
        return [*steps, *await _prove(upstream, license_, route, reference)]


async def _prove(upstream: Upstream, license_: LicenseFacts, route: Route, reference: Reference) -> list[Step]:
    """Search a tag that may be pulled and leads to the digest, as a proxy does that remembers nothing."""
    import time

    from pullgate.faults import Fault
    from pullgate.policy.entitlement import access
    from pullgate.policy.explain import Step
    from pullgate_proxy.lineage.grants import Children, Grants, Scope
    from pullgate_proxy.lineage.proof import Proof, Prover, Question
    from pullgate_proxy.lists.room import ListRoom

    allowed = access(license_, route.registry.name, route.repository)
    if reference.digest is None or allowed is None or allowed.allows_every_reference:
        return []
    scope = Scope(route.registry, route.repository, allowed.rule)
    question = Question(upstream, route.repository, allowed, scope, reference.digest, is_blob=False)
    try:
        proof = await Prover(Grants(_GRANTS), Children(), time.monotonic, ListRoom(_LISTS)).prove(question)
    except Fault as fault:
        return [Step("tag", None, f"no covered tag was shown to lead to the digest: {fault.for_vendor}")]
    if proof is Proof.PENDING:
        return [Step("tag", None, "the search for a covered tag that leads to the digest reached its bound")]
    if proof is Proof.PROVEN:
        return [Step("tag", True, "a covered tag leads to the digest", "spec.entitlements")]
    fix = f"vendor: cover a tag that leads to it in {license_.name}"
    return [Step("tag", False, "no covered tag leads to the digest", "spec.entitlements", "NotEntitled", fix)]


def _print(license_name: str, reference: Reference, steps: list[Step], output: str) -> None:
    from pullgate_cli.printing import console, escape, print_data

    refused = next((step for step in steps if step.passed is False), None)
    if output != "table":
        rows: list[Any] = [dataclasses.asdict(step) for step in steps]
        head = {"license": license_name, "reference": str(reference), "allowed": _verdict(steps)}
        reason = refused.reason if refused is not None else "Ok" if head["allowed"] else ""
        print_data({**head, "reason": reason, "steps": rows}, output)
        return
    out = console()
    out.print(f"License [bold]{escape(license_name)}[/] and {escape(reference)}", soft_wrap=True)
    marks = {True: "[green]yes[/]", False: "[red]no [/]", None: "[yellow]?  [/]"}
    for step in steps:
        rule = f" [dim]({escape(step.rule)})[/]" if step.rule else ""
        out.print(f"{marks[step.passed]} [bold]{step.name:<12}[/] {escape(step.text)}{rule}", soft_wrap=True)
    if refused is not None:
        out.print(f"[red]refused[/]: {refused.reason}; {escape(refused.next)}", soft_wrap=True)
    elif _verdict(steps) is None:
        out.print("[yellow]not proven[/]: a step above could not tell, so the proxy may refuse it")
    else:
        out.print("[green]may be pulled[/]")
