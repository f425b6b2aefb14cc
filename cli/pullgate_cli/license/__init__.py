"""`pullgate license`: Licenses from issue to end."""

from __future__ import annotations

import click

from pullgate_cli.lazy import Entry, LazyGroup

_LOOK, _CHANGE, _KEY = ("pullgate_cli.license.look", "pullgate_cli.license.change", "pullgate_cli.license.key")

COMMANDS = {
    "create": Entry("pullgate_cli.license.create", "create", "Issue one, or print its YAML."),
    "list": Entry(_LOOK, "list_", "All of them, and how they stand."),
    "show": Entry(_LOOK, "show", "One of them: entitlements, keys, usage."),
    "suspend": Entry(_CHANGE, "suspend", "Refuse the next request; resume restores it, with its key."),
    "resume": Entry(_CHANGE, "resume", "End a suspension."),
    "extend": Entry(_CHANGE, "extend", "Move its end; the key stays."),
    "rotate": Entry(_CHANGE, "rotate", "Issue a new key; the old one works for the overlap."),
    "revoke": Entry(_CHANGE, "revoke", "End a key that leaked, at once and for good."),
    "find": Entry(_LOOK, "find", "The License of a key, which is read from standard input."),
    "verify": Entry(_KEY, "verify", "Check a license file, offline."),
    "pull-secret": Entry(_KEY, "pull_secret", "What a customer's cluster or docker needs."),
}


@click.group(name="license", cls=LazyGroup, entries=COMMANDS)
def license_() -> None:
    """A customer's right to pull images, until its end."""
