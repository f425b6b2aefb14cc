"""The command line. A command's module is imported when that command runs, so that `pullgate --help` starts fast."""

from __future__ import annotations

import importlib
from typing import NamedTuple

import click


class Entry(NamedTuple):
    """A command: where it is, and its line in the help."""

    module: str
    name: str
    help: str


COMMANDS = {
    "standalone": Entry("pullgate_cli.standalone", "standalone", "Serve a folder of YAML, without a cluster."),
    "proxy": Entry("pullgate_cli.proxy", "proxy", "Answer pulls by a cluster's resources."),
    "operator": Entry("pullgate_cli.operator", "operator", "Reconcile a cluster's resources."),
    "demo": Entry("pullgate_cli.demo", "demo", "Start a private upstream with one image, and serve it."),
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports the one that is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """See click.Group."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """See click.Group."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command = getattr(importlib.import_module(entry.module), entry.name)
        if not isinstance(command, click.Command):
            raise TypeError(f"{entry.module}.{entry.name} is no command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See click.Group."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pullgate", prog_name="pullgate")
def main() -> None:
    """Customers pull a vendor's private images with nothing but their license."""


if __name__ == "__main__":
    main(prog_name="pullgate")
