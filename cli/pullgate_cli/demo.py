"""`pullgate demo DIR`, what `make run` starts: a private upstream with one image, and Pullgate before it."""

from __future__ import annotations

import base64
import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pullgate_cli.options import admin_option, listen_option
from pullgate_cli.place.options import COULD_NOT_RUN
from pullgate_cli.printing import tell
from pullgate_cli.standalone import default_url

if TYPE_CHECKING:
    from pullgate_cli.demo_upstream import DemoUpstream
    from pullgate_cli.serve_folder import Served
    from pullgate_proxy.settings import ProxySettings

APP = "demo"
REPOSITORY = "my-org/hello"
TAG = "1.0"
TEXT = "Hello from a private image, pulled with a license.\n"

LICENSES = """\
# Two customers. Change something and save: it takes effect within a second.
apiVersion: pullgate.dev/v1alpha1
kind: License
metadata: {name: acme, namespace: demo}
spec:
  customer: {name: ACME Corp, email: ops@acme.example}
  entitlements:
    - registry: upstream
      repositories: ["my-org/hello"]
  # suspended: {reason: "invoice 77 unpaid"}
---
apiVersion: pullgate.dev/v1alpha1
kind: License
metadata: {name: former, namespace: demo}
spec:
  customer: {name: Former Customer Ltd}
  expiresAt: 2026-10-01T00:00:00Z
  entitlements:
    - repositories: ["**"]
"""

REGISTRY = """\
# The private upstream that `pullgate demo` started, and the one credential set for it. Written anew at each start.
apiVersion: pullgate.dev/v1alpha1
kind: Registry
metadata: {{name: upstream, namespace: demo}}
spec:
  type: Generic
  host: {host}
  credentials: {{secretRef: {{name: upstream}}}}
  tls: {{plainHTTP: true}}
---
apiVersion: v1
kind: Secret
metadata: {{name: upstream, namespace: demo}}
type: kubernetes.io/basic-auth
stringData: {{username: {username}, password: {password}}}
"""


@click.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", default=".demo")
@listen_option
@admin_option
def demo(directory: Path, listen: tuple[str, int], admin: tuple[str, int]) -> None:
    """Start a private registry with one image in it, write resources for it to DIR, and serve them.

    It prints three commands to try: one that pulls, and two that fail and say why.
    """
    import asyncio

    from pullgate.log_lines import write_log
    from pullgate.private_memory import keep_memory_private
    from pullgate_cli.demo_upstream import DemoUnavailable
    from pullgate_cli.serve_folder import CannotServe
    from pullgate_proxy.settings import ProxySettings

    keep_memory_private()
    write_log("%(levelname)s %(name)s: %(message)s")
    settings = ProxySettings(
        listen_host=listen[0],
        listen_port=listen[1],
        admin_host=admin[0],
        admin_port=admin[1],
        external_url=default_url(listen, tls=False),
        drain_seconds=5,
    )
    try:
        asyncio.run(_run(directory, settings))
    except (CannotServe, DemoUnavailable) as error:
        tell(f"pullgate demo: {error}")
        sys.exit(COULD_NOT_RUN)
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(130)


async def _run(directory: Path, settings: ProxySettings) -> None:
    from pullgate.policy.tenancy import LOOPBACK
    from pullgate_cli.demo_upstream import push_image, run_upstream
    from pullgate_cli.serve_folder import serve_until_signal

    click.echo("Starting a private registry with one image in it …", err=True)
    private = directory / ".pullgate"
    private.mkdir(parents=True, exist_ok=True, mode=0o700)
    async with run_upstream(private / "demo-upstream") as upstream:
        await push_image(upstream, REPOSITORY, TAG, TEXT)
        write_resources(directory, upstream)

        async def announce(served: Served) -> None:
            keys = {name: await _read_key(served, name) for name in ("acme", "former")}
            click.echo(describe_next_steps(settings.external_url, keys, directory, upstream), err=True)

        await serve_until_signal(directory, settings, announce, networks=LOOPBACK)


def write_resources(directory: Path, upstream: DemoUpstream) -> None:
    """The demo's YAML; licenses.yaml is left as a person may have changed it."""
    registry = directory / "registry.yaml"
    registry.touch(mode=0o600)
    registry.write_text(
        REGISTRY.format(host=upstream.host, username=upstream.username, password=json.dumps(upstream.password))
    )
    licenses = directory / "licenses.yaml"
    if not licenses.exists():
        licenses.write_text(LICENSES)


async def _read_key(served: Served, license_name: str) -> str:
    """The license key as the customer's pull Secret holds it; empty if a person deleted the License."""
    from pullgate.store.port import Key

    document = await served.store.get(Key("Secret", APP, f"{license_name}-pull"))
    if document is None:
        return ""
    config = json.loads(base64.b64decode(document["data"][".dockerconfigjson"]))
    return str(next(iter(config["auths"].values()))["password"])


def describe_next_steps(url: str, keys: dict[str, str], directory: Path, upstream: DemoUpstream) -> str:
    """The three commands, for a client that is on this machine."""
    host = url.partition("://")[2]
    image = f"{host}/proxy/{APP}/upstream/{REPOSITORY}:{TAG}"
    other = f"{host}/proxy/{APP}/upstream/my-org/secret:{TAG}"
    steps = [
        ("It pulls: acme's license covers my-org/hello.", "acme", image),
        ("It fails, and says why: acme's license does not cover my-org/secret.", "acme", other),
        ("It fails, and says why: the license of former has expired.", "former", image),
    ]
    lines = ["", "Try these in another terminal:", ""]
    for number, (title, license_name, reference) in enumerate(steps, 1):
        command = pull_command(license_name, keys[license_name], reference, number)
        lines += [click.style(f"{number}. {title}", bold=True), f"   {command}", ""]
    lines += [
        f"Without a license the upstream itself ({upstream.host}) refuses everybody. Then edit",
        f"{directory}/licenses.yaml (suspend acme, say) and pull again: no restart. Ctrl-C ends all of it.",
    ]
    return "\n".join(lines)


def pull_command(user: str, key: str, reference: str, number: int) -> str:
    """A command for the first client that is installed; curl is everywhere.

    Each has a directory by its number: skopeo empties it before it pulls, also if the pull is refused.
    """
    if shutil.which("skopeo"):
        creds = f"--src-tls-verify=false --src-creds {user}:{key}"
        return f"skopeo copy --insecure-policy {creds} docker://{reference} dir:/tmp/pullgate-demo-{number}"
    if shutil.which("crane"):
        return f"crane auth login {reference.partition('/')[0]} -u {user} -p {key} && crane manifest {reference}"
    host, _, rest = reference.partition("/")
    repository, _, tag = rest.rpartition(":")
    accept = "-H 'Accept: application/vnd.oci.image.manifest.v1+json'"
    return f"curl -u {user}:{key} {accept} http://{host}/v2/{repository}/manifests/{tag}"
