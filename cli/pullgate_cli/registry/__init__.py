"""`pullgate registry`: upstreams and their credentials."""

from __future__ import annotations

import click

from pullgate_cli.lazy import Entry, LazyGroup

COMMANDS = {
    "test": Entry("pullgate_cli.registry.test", "test", "Reach it, log in, fetch an image: step by step."),
    "guide": Entry("pullgate_cli.registry.guide", "guide", "What to do at a provider, by type."),
    "list": Entry("pullgate_cli.registry.list", "list_", "All of them, and how they stand."),
    "add": Entry("pullgate_cli.registry.add", "add", "Test one, then write its YAML or apply it."),
}


@click.group(name="registry", cls=LazyGroup, entries=COMMANDS)
def registry() -> None:
    """Upstreams, and the one credential set for each."""
