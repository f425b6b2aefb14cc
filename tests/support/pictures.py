"""Makes docs/pictures: what commands print on a terminal, as SVG. `make docs` runs it."""

from __future__ import annotations

import asyncio
import io
import re
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

from tests.support.catalog import API, STABLE, WORKER, seed
from tests.support.cli import pullgate
from tests.support.gate import APP, license_, registry, running, secret
from tests.support.ports import free_port
from tests.support.upstreams import DockerRegistry

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
WIDTH = 100
_FONTS = re.compile(r"@font-face \{.*?\n    \}\n", re.DOTALL)
_BAR = re.compile(r"(\x1b\[[0-9;?]*[A-Za-z])*testing ")
MANIFESTS = """\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: api}}
spec: {{template: {{spec: {{containers: [{{name: api, image: "{host}/{api}:{tag}"}}]}}}}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: worker}}
spec: {{template: {{spec: {{containers: [{{name: worker, image: "{host}/{worker}:9.9.9"}}]}}}}}}
"""


def draw(name: str, command: str, output: str) -> None:
    """One picture: the command as it is typed, and what it prints."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(f"[bold green]$[/] {command}", highlight=False)
    lines = [line for line in output.splitlines() if line.strip() and not _BAR.match(line)]
    console.print(Text.from_ansi("\n".join(lines)))
    PICTURES.mkdir(exist_ok=True)
    svg = console.export_svg(title="pullgate", unique_id=f"pullgate-{name}")
    svg = _FONTS.sub("", svg)  # a viewer would fetch them from a third party
    (PICTURES / f"{name}.svg").write_text("\n".join(line.rstrip() for line in svg.splitlines()) + "\n")


async def main() -> None:
    """Run the commands on a small installation, and draw them."""
    port = free_port()
    with tempfile.TemporaryDirectory() as name:
        async with DockerRegistry("token") as upstream:
            await seed(upstream)
            documents = [
                secret("robot", upstream.username, upstream.password),
                registry("quay", upstream.host, secret="robot"),
                license_("acme", {"registry": "quay", "repositories": ["my-org/*"], "tags": {"semver": ">=1 <2"}}),
            ]
            url = f"http://127.0.0.1:{port}"
            folder = Path(name) / "folder"
            async with running(folder, *documents, listen_port=port, external_url=url) as gate:
                place = ("--folder", folder, "-n", APP)
                rendered = Path(name) / "rendered.yaml"
                rendered.write_text(MANIFESTS.format(host=upstream.host, api=API, tag=STABLE, worker=WORKER))

                async def run(picture: str, shown: str, *arguments: str | Path) -> None:
                    ran = await pullgate(*arguments, *place, columns=WIDTH)
                    text = ran.output.replace(upstream.host, "quay.io").replace(gate.host, "images.example.com")
                    text = text.replace("127.0.0.1 is 127.0.0.1", "quay.io is 203.0.113.7").replace(
                        "127.0.0.1", "quay.io"
                    )
                    draw(picture, f"pullgate {shown} -n {APP}", text)

                image = f"{WORKER}:1.0.0"
                shown = f"registry test quay --image {image}"
                await run("registry-test", shown, "registry", "test", "quay", "--image", image)
                await run("gate", "gate -f rendered.yaml --as all", "gate", "-f", rendered, "--as", "all")
                end = f"proxy/{APP}/quay/{WORKER}:2.1.0"
                arguments = ("explain", "acme", f"{gate.host}/{end}")
                await run("explain", f"explain acme images.example.com/{end}", *arguments)


if __name__ == "__main__":
    asyncio.run(main())
