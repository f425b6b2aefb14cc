"""`license verify` and `license pull-secret`."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pullgate_cli.place.options import COULD_NOT_RUN, FAILED, PASSED, Where, output_option, place_options, run_in
from pullgate_cli.printing import tell

if TYPE_CHECKING:
    from pullgate_cli.place.port import Place


@click.command()
@click.argument("file", type=click.File("r"))
@click.option(
    "--public-key",
    required=True,
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The vendor's public key, PEM; repeatable.",
)
@click.option("--at", metavar="DATE", help="Judge it as of this day.  [default: now]")
@output_option
def verify(file: Any, public_key: tuple[Path, ...], at: str | None, output: str) -> None:
    """Check a license file, or the Secret that holds it: is it the vendor's, unaltered, and of today? Needs no network.

    Exit code 0: it is; 1: it is not; 2: it could not be checked.
    """
    from pullgate.licensing.license_file import InvalidLicenseFile, verify_license
    from pullgate_cli.license.change import parse_end

    now = parse_end(at, "--at") if at else datetime.now(UTC)
    try:
        text = _license_text(file.read(READ_LIMIT))
        facts = verify_license(text, [path.read_text() for path in public_key])
    except InvalidLicenseFile as error:
        tell(f"not valid: {error}")
        sys.exit(FAILED)
    except (OSError, ValueError) as error:
        tell(f"pullgate: {error}")
        sys.exit(COULD_NOT_RUN)
    why = _refusal(facts, now)
    _print_facts(facts, why, output)
    sys.exit(FAILED if why else PASSED)


READ_LIMIT = 1 << 20


def _license_text(text: str) -> str:
    """The license file in `text`, which may be the Secret NAME-license as YAML or JSON. Raises InvalidLicenseFile."""
    import base64

    import yaml

    from pullgate.licensing.license_file import InvalidLicenseFile
    from pullgate.oci.yaml_nodes import BrokenYAML
    from pullgate.store.documents import load_yaml

    try:
        document = load_yaml(text)
    except (yaml.YAMLError, BrokenYAML, ValueError) as error:
        raise InvalidLicenseFile("the file is not YAML") from error
    if not isinstance(document, dict) or document.get("kind") != "Secret":
        return text
    plain, encoded = (document.get(field) or {} for field in ("stringData", "data"))
    if isinstance(plain, dict) and isinstance(plain.get("license.yaml"), str):
        return str(plain["license.yaml"])
    if not isinstance(encoded, dict) or not isinstance(encoded.get("license.yaml"), str):
        raise InvalidLicenseFile("this Secret holds no license.yaml; the one that is named NAME-license does")
    try:
        return base64.b64decode("".join(encoded["license.yaml"].split()), validate=True).decode()
    except ValueError as error:
        raise InvalidLicenseFile("license.yaml of this Secret is not base64 of text") from error


def _refusal(facts: dict[str, Any], now: datetime) -> str:
    """Why it is not valid at `now`, or nothing."""
    from pullgate.resources.fields import parse_time

    begin, end = facts.get("notBefore"), facts.get("expiresAt")
    if begin and now < parse_time(begin):
        return f"not valid before {begin}"
    if end and now >= parse_time(end):
        return f"expired {end}"
    return ""


def _print_facts(facts: dict[str, Any], why: str, output: str) -> None:
    from pullgate_cli.printing import console, escape, print_data

    shown = {name: value for name, value in facts.items() if name != "key"}
    if output != "table":
        print_data({"valid": not why, "why": why, "license": shown}, output)
        return
    out = console()
    out.print("[green]valid[/]: signed by the vendor, unaltered" if not why else f"[red]not valid[/]: {escape(why)}")
    for name, value in shown.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        out.print(f"[bold]{escape(name):<14}[/]{escape(text)}", soft_wrap=True)


@click.command(name="pull-secret")
@click.argument("name")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["secret", "docker", "license-file"]),
    default="secret",
    show_default=True,
    help="A Secret for kubectl apply, a docker config.json, or the signed license file.",
)
@click.option("--secret-name", metavar="NAME", help="Of the Secret.  [default: the License's]")
@click.option("--secret-namespace", metavar="NAME", help="Of the Secret, in the customer's cluster.")
@place_options
def pull_secret(where: Where, name: str, output: str, secret_name: str | None, secret_namespace: str | None) -> None:
    """Print what a customer needs to pull. It holds the license key: send it over a safe way."""

    async def work(place: Place) -> int:
        from pullgate_cli.license.secret import read_docker_config, read_license_file
        from pullgate_cli.place.port import require
        from pullgate_cli.printing import print_data

        document = await require(place, "License", name)
        if output == "license-file":
            click.echo(await read_license_file(place, document), nl=False)
            return PASSED
        config = await read_docker_config(place, document)
        if output == "docker":
            print_data(config, "json")
            return PASSED
        metadata = {"name": secret_name or name, **({"namespace": secret_namespace} if secret_namespace else {})}
        print_data(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": metadata,
                "type": "kubernetes.io/dockerconfigjson",
                "stringData": {".dockerconfigjson": json.dumps(config)},
            },
            "yaml",
        )
        return PASSED

    run_in(where, work)
