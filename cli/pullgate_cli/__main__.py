"""The command line."""

from __future__ import annotations

import click

from pullgate_cli.lazy import Entry
from pullgate_cli.program import Program

COMMANDS = {
    "gate": Entry("pullgate_cli.gate.command", "gate", "Can all images be pulled, by each customer? A release gate."),
    "image": Entry("pullgate_cli.gate.image", "image", "Test one image; list those of manifests and charts."),
    "registry": Entry("pullgate_cli.registry", "registry", "Upstreams: test one, add one."),
    "license": Entry("pullgate_cli.license", "license_", "Who may pull what: create, list, suspend, extend, rotate …"),
    "explain": Entry("pullgate_cli.explain", "explain", "Why a License may pull an image, or not: step by step."),
    "doctor": Entry("pullgate_cli.doctor", "doctor", "What of this installation is not well, and what to do."),
    "standalone": Entry("pullgate_cli.standalone", "standalone", "Serve a folder of YAML, without a cluster."),
    "proxy": Entry("pullgate_cli.proxy", "proxy", "Answer pulls by a cluster's resources."),
    "operator": Entry("pullgate_cli.operator", "operator", "Reconcile a cluster's resources."),
    "completion": Entry("pullgate_cli.completion", "completion", "Completion of commands and options for a shell."),
    "demo": Entry("pullgate_cli.demo", "demo", "Start a private upstream with one image, and serve it."),
}


@click.group(cls=Program, entries=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pullgate", prog_name="pullgate")
def main() -> None:
    """Customers pull a vendor's private images with nothing but their license.

    Exit codes: 0 done, or passed; 1 failed: what was asked is not so; 2 could not run.
    """


if __name__ == "__main__":
    main(prog_name="pullgate")
