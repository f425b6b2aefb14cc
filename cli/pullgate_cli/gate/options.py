"""Options of the commands that test images, and what they have in common."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pullgate_cli.options import ca_option
from pullgate_cli.printing import tell

if TYPE_CHECKING:
    from pullgate.upstream.probe import ProbeOptions
    from pullgate_cli.gate.inputs import Images
    from pullgate_cli.gate.report import Report
    from pullgate_cli.place.options import Where

Command = TypeVar("Command", bound=Callable[..., Any])

FORMATS = ("table", "json", "yaml", "markdown", "junit", "sarif")

_INPUT = (
    click.option(
        "-f",
        "--filename",
        "files",
        multiple=True,
        metavar="FILE",
        help="Rendered manifests, or a list of references; a folder, or - for standard input; repeatable.",
    ),
    click.option(
        "--chart", "charts", multiple=True, metavar="CHART", help="A helm chart, rendered by helm; repeatable."
    ),
    click.option("--values", multiple=True, metavar="FILE", help="Values for the charts; repeatable."),
    click.option(
        "--image-path",
        "image_paths",
        multiple=True,
        metavar="PATH",
        help="Where custom resources name images: spec.components[].image, or Kind:spec.image; repeatable.",
    ),
)
_PROBE = (
    click.option(
        "--depth",
        type=click.Choice(["manifest", "blobs", "download"], case_sensitive=False),
        default="blobs",
        show_default=True,
        help="The manifest; each layer by HEAD; or every byte, verified.",
    ),
    click.option("--platform", "platforms", multiple=True, metavar="OS/ARCH", help="Must be there; repeatable."),
    click.option("--timeout", default="2m", show_default=True, metavar="DURATION", help="Of the whole run."),
    click.option("--retries", type=click.IntRange(0, 10), default=2, show_default=True, help="Where one may help."),
    click.option(
        "--concurrency", type=click.IntRange(1, 512), default=128, show_default=True, help="Requests at once."
    ),
    click.option("--proxy", "proxy_url", metavar="URL", help="Where customers reach it.  [default: the pull Secret's]"),
    ca_option("CA of the proxy, or with --local of the registries, PEM."),
    click.option("--local", is_flag=True, help="No cluster, no folder: straight upstream with docker's own logins."),
    click.option("--plain-http", multiple=True, metavar="HOST", help="With --local: hosts without TLS; repeatable."),
    click.option(
        "-o",
        "--output",
        type=click.Choice(FORMATS),
        default="table",
        show_default=True,
        help="How to print it.",
    ),
    click.option(
        "--report",
        "reports",
        multiple=True,
        metavar="FORMAT=FILE",
        help="Write it to a file, too: junit=…, sarif=…, json=…, yaml=…, markdown=…; repeatable.",
    ),
)


def input_options(command: Command) -> Command:
    """Add the options that name images."""
    for option in reversed(_INPUT):
        command = option(command)
    return command


def probe_options(command: Command) -> Command:
    """Add the options for the tests and the report."""
    for option in reversed(_PROBE):
        command = option(command)
    return command


def parse_reports(texts: tuple[str, ...]) -> list[tuple[str, Path]]:
    """Format and file of each. Raises click.BadParameter."""
    found = []
    for text in texts:
        form, equals, file = text.partition("=")
        if not equals or form not in FORMATS[1:] or not file:
            raise click.BadParameter(f"{text!r}: write it like junit=report.xml", param_hint="--report")
        found.append((form, Path(file)))
    return found


def build_options(given: dict[str, Any]) -> ProbeOptions:
    """How to probe. Raises click.BadParameter."""
    import re

    from pullgate.resources.fields import parse_duration
    from pullgate.upstream.probe import ProbeOptions

    for platform in given["platforms"]:
        if not re.fullmatch(r"[a-z0-9]+/[a-z0-9_]+(/[a-z0-9.]+)?", platform):
            raise click.BadParameter(f"{platform!r}: write it like linux/amd64", param_hint="--platform")
    try:
        timeout = parse_duration(given["timeout"]).total_seconds()
    except ValueError as error:
        raise click.BadParameter(f"{given['timeout']!r}: write it like 2m", param_hint="--timeout") from error
    return ProbeOptions(
        depth={"manifest": "Manifest", "download": "Download"}.get(given["depth"].lower(), "Blobs"),  # type: ignore[arg-type]
        platforms=given["platforms"],
        timeout=timeout,
        retries=given["retries"],
        concurrency=given["concurrency"],
        per_host=given["concurrency"],
    )


def run_probe(where: Where, images: Callable[[], Any], who: tuple[str, ...], given: dict[str, Any]) -> None:
    """Read the images, test them, tell it, and end with the exit code."""
    import asyncio
    import sys

    from pullgate_cli.place.options import COULD_NOT_RUN, FAILED, PASSED, open_place
    from pullgate_cli.place.port import PlaceError

    reports, options = parse_reports(given["reports"]), build_options(given)
    if given["local"] and who:
        raise click.UsageError("--local asks the upstream itself, so it cannot be as a License; leave out --as")

    if given["proxy_url"] and (given.get("in_cluster") or not who):
        raise click.UsageError("--proxy would never be asked: name who pulls through it by --as, from here")

    if given.get("in_cluster") and (given["local"] or "all" in who):
        raise click.UsageError("--in-cluster needs a cluster, and Licenses by name")

    async def work() -> Report:
        from pullgate.tls_context import read_ca_file
        from pullgate_cli.gate.run import run_gate
        from pullgate_cli.gate.sources import Proxy, fetch_targets, local_targets

        found: Images = await images()
        if not found.names:
            raise PlaceError("there is no image to be tested; name references, or manifests with -f, or a --chart")
        if given.get("in_cluster"):
            from pullgate_cli.gate.in_cluster import run_in_cluster
            from pullgate_cli.gate.run import show

            async with open_place(where) as place:
                return show(await run_in_cluster(place, found, who, options), shown=given["output"] == "table")
        ca = read_ca_file(given["ca"]) if given["ca"] is not None else None
        if given["local"]:
            targets = await local_targets(found.names, frozenset(given["plain_http"]), ca)
        else:
            async with open_place(where) as place:
                targets = await fetch_targets(place, found.names, who, Proxy(given["proxy_url"] or "", ca))
        return await run_gate(targets, options, found.places, shown=given["output"] == "table")

    try:
        report = asyncio.run(work())
        if not any(run.results for run in report.runs):
            raise PlaceError("no image was tested")
        _tell(report, given["output"], reports)
    except PlaceError as error:
        tell(f"pullgate: {error}")
        sys.exit(COULD_NOT_RUN)
    except BrokenPipeError:
        raise
    except OSError as error:
        tell(f"pullgate: {error}")
        sys.exit(COULD_NOT_RUN)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(PASSED if report.passed else FAILED)


def _tell(report: Report, output: str, reports: list[tuple[str, Path]]) -> None:
    import os

    from pullgate_cli.gate.report import FORMATS as RENDERERS

    if output != "table":
        click.echo(RENDERERS[output](report), nl=False)
    for form, file in reports:
        file.write_text(RENDERERS[form](report), encoding="utf-8")
    if os.environ.get("GITHUB_ACTIONS") == "true":
        click.echo(RENDERERS["github"](report), nl=False, err=output != "table")
        summary = os.environ.get("GITHUB_STEP_SUMMARY")
        if summary:
            with open(summary, "a", encoding="utf-8") as out:
                out.write(RENDERERS["markdown"](report))
