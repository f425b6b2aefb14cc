"""`registry test`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pullgate_cli.place.options import COULD_NOT_RUN, FAILED, PASSED, Where, output_option, place_options, run_in
from pullgate_cli.registry.subject import description_options

if TYPE_CHECKING:
    from pullgate.providers.exchange import Issued
    from pullgate.upstream.diagnose import DiagnosedStep
    from pullgate_cli.place.port import Place
    from pullgate_cli.registry.subject import Described, Subject

NOT_PROVEN = "NotProven"
_NAME_ONE = "name a private image: --image REPOSITORY, or spec.check.image"


@click.command()
@click.argument("name", required=False)
@description_options
@click.option("--image", metavar="REPOSITORY[:TAG]", help="Fetch its manifest, too.  [default: spec.check.image]")
@output_option
@place_options
def test(
    where: Where,
    name: str | None,
    described: Described | None,
    image: str | None,
    output: str,
) -> None:
    """Reach a registry, log in, fetch an image: each step with its time, and at the first fault whose move it is.

    NAME is a Registry of a cluster or folder; or describe one with --type, --host, --username, --password-stdin, --ca.
    Exit code 0: all steps passed; 1: one failed; 2: it could not be tried, or nothing proves the login.
    """
    if (name is None) == (described is None):
        raise click.UsageError("name a Registry, or describe one with --type")
    if described is not None:
        import asyncio
        import sys

        from pullgate_cli.registry.subject import described_subject

        sys.exit(asyncio.run(examine(described_subject(described), image, output)))

    async def work(place: Place) -> int:
        from pullgate_cli.registry.subject import fetch_subject

        return await examine(await fetch_subject(place, name or "", fresh=True), image, output)

    run_in(where, work)


async def examine(subject: Subject, image: str | None, output: str) -> int:
    """Run the steps and print them as they are done; the exit code."""
    from pullgate.upstream.diagnose import diagnose
    from pullgate_cli.printing import console, escape, print_data

    wanted = _image(image or subject.resource.spec.check.image)
    out = console() if output == "table" else None
    if out is not None:
        meta, spec = subject.resource.metadata, subject.resource.spec
        out.print(f"[bold]{escape(spec.type)}[/] {escape(spec.host)} [dim]({meta.namespace}/{meta.name})[/]")
    rows: list[dict[str, Any]] = []
    if subject.problem:
        rows.append(_missing(subject))
        if out is not None:
            _print(out, rows[-1])
    else:
        if subject.issued is not None:
            rows.append(_token(subject.issued, subject.seconds))
            if out is not None:
                _print(out, rows[-1])
        async for step in diagnose(subject.config, wanted, subject.resource.spec.repositories):
            rows.append(_row(step, subject, wanted.repository if wanted is not None else ""))
            if out is not None:
                _print(out, rows[-1])
    passed = all(row["passed"] for row in rows)
    if out is None:
        meta = subject.resource.metadata
        about = {"type": subject.resource.spec.type, "host": subject.resource.spec.host}
        print_data({"registry": f"{meta.namespace}/{meta.name}", **about, "passed": passed, "steps": rows}, output)
    if passed:
        return PASSED
    return COULD_NOT_RUN if all(row["passed"] or row["reason"] == NOT_PROVEN for row in rows) else FAILED


def _image(text: str | None) -> Any:
    from pullgate.oci.reference import InvalidReference, parse_reference
    from pullgate.upstream.diagnose import Image

    if not text:
        return None
    try:
        reference = parse_reference(f"registry.invalid/{text}")
    except InvalidReference as error:
        raise click.BadParameter(f"{text!r}: {error}", param_hint="--image") from error
    return Image(reference.repository, reference.target)


def _row(step: DiagnosedStep, subject: Subject, repository: str) -> dict[str, Any]:
    row: dict[str, Any] = {"step": step.name, "passed": step.passed, "seconds": round(step.seconds, 4)}
    if step.unproven:
        return {**row, "reason": NOT_PROVEN, "text": step.text, "actors": ["vendor"], "hint": _NAME_ONE}
    if step.fault is None:
        return {**row, "text": step.text}
    from pullgate.providers.hints import hint
    from pullgate.providers.suspicion import suspect

    type_, credentials = subject.resource.spec.type, subject.config.credentials
    user = credentials.account if credentials is not None else ""
    found = {
        **row,
        "reason": step.fault.reason,
        "text": step.fault.for_vendor,
        "actors": [str(actor) for actor in step.fault.actors],
        "hint": hint(type_, step.fault, username=user, repository=repository, was_issued=subject.was_issued),
    }
    refused = step.fault.reason in {"UpstreamUnauthorized", "UpstreamForbidden"}
    suspicion = None
    if credentials is not None and refused and not subject.was_issued:
        suspicion = suspect(type_, credentials, subject.resource.spec.host)
    return {**found, "suspicion": suspicion} if suspicion else found


def _missing(subject: Subject) -> dict[str, Any]:
    seconds = round(subject.seconds, 4)
    row = {"step": "credentials", "passed": False, "seconds": seconds, "reason": subject.reason}
    return {**row, "text": subject.problem, "actors": ["vendor"], "hint": subject.fix}


def _token(issued: Issued, seconds: float) -> dict[str, Any]:
    end = issued.credentials.expires_at
    until = f" until {end:%Y-%m-%d %H:%M} UTC" if end is not None else ""
    return {"step": "token", "passed": True, "seconds": round(seconds, 4), "text": f"{issued.kind}{until}"}


def _print(out: Any, row: dict[str, Any]) -> None:
    from pullgate_cli.printing import escape

    mark = "[green]✓[/]" if row["passed"] else "[yellow]?[/]" if row.get("reason") == NOT_PROVEN else "[red]✗[/]"
    out.print(f"{mark} {row['step']:<11} {row['seconds'] * 1000:>6.0f} ms  {escape(row['text'])}", soft_wrap=True)
    if not row["passed"]:
        who = " or ".join(row["actors"])
        words = f"[bold]{row['reason']}[/]; the move is the [bold]{who}[/]'s: {escape(row['hint'])}"
        out.print(f"  {words}", soft_wrap=True)
        if row.get("suspicion"):
            out.print(f"  [yellow]{escape(row['suspicion'])}[/]", soft_wrap=True)
