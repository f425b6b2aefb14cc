"""The docs are right: a command does what they say, links lead to files, and the options exist."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import click
import pytest
import yaml

from pullgate_cli.proxy import proxy
from pullgate_cli.standalone import standalone
from pullgate_operator.plan.signing import read_license_key
from pullgate_operator.reconcile.signing import LICENSE_KEY
from tests.support.clients.command import run
from tests.support.gate import APP, license_, running

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.logs_traceback("AssertionError: the file was altered")
async def test_the_license_files_page_checks_a_license_file_offline(tmp_path: Path) -> None:
    found = re.search(r"```python\n(.*?)```", (DOCS / "license-file.md").read_text(), re.DOTALL)
    assert found is not None
    file, public = tmp_path / "license.yaml", tmp_path / "public.pem"
    async with running(tmp_path / "resources", license_("acme", expiresAt="2090-01-01T00:00:00Z")) as gate:
        path = gate.directory / ".pullgate" / "secrets" / APP / "acme-license.yaml"
        file.write_text(yaml.safe_load(path.read_text())["stringData"]["license.yaml"])
        document = await gate.store.get(LICENSE_KEY)
        assert document is not None
        public.write_text(read_license_key(document)[1])
    checked = await run([sys.executable, "-c", found[1], public, file])
    assert checked.output == "acme until 2090-01-01T00:00:00Z\n"
    file.write_text(file.read_text().replace("2090", "2099", 1))
    altered = await run([sys.executable, "-c", found[1], public, file])
    assert altered.exit_code != 0
    assert "the file was altered" in altered.output


def test_every_relative_link_leads_to_a_file() -> None:
    root = DOCS.parent
    for page in [root / "README.md", root / "CONTRIBUTING.md", *DOCS.glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_standalone_page_lists_every_option_and_no_other() -> None:
    found = re.search(r"```\npullgate standalone DIR\n(.*?)```", (DOCS / "standalone.md").read_text(), re.DOTALL)
    assert found is not None
    assert set(re.findall(r"(--[a-z-]+) [A-Z]", found[1])) == options(standalone)


def test_the_pages_of_caches_and_limits_name_options_that_there_are() -> None:
    for page in ("cache.md", "limits.md"):
        named = set(re.findall(r"`(--[a-z-]+)", (DOCS / page).read_text()))
        assert named
        assert named <= options(proxy), page


def options(command: click.Command) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts if name.startswith("--")}
