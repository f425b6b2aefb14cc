"""`--domains`, and its variable, say for all namespaces which domains may be claimed."""

from __future__ import annotations

import click
import pytest

from pullgate_cli.operator import operator

ARGUMENTS = ["--external-url", "https://images.example.com"]


def domains(monkeypatch: pytest.MonkeyPatch, value: str) -> object:
    """The value that the command receives for the variable."""
    monkeypatch.setenv("PULLGATE_DOMAINS", value)
    return operator.make_context("operator", [*ARGUMENTS], auto_envvar_prefix="PULLGATE").params["domains"]


@pytest.mark.parametrize(
    ("value", "patterns"),
    [
        ("images.example.com,*.Example.dev", ("images.example.com", "*.example.dev")),
        ("a.example *.b.example", ("a.example", "*.b.example")),
        ("*", ("*",)),
        ("none", ()),
    ],
)
def test_the_variable_is_read(monkeypatch: pytest.MonkeyPatch, value: str, patterns: tuple[str, ...]) -> None:
    assert domains(monkeypatch, value) == patterns


@pytest.mark.parametrize("value", ["images", "none, a.example", "https://a.example"])
def test_what_is_no_domain_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    with pytest.raises(click.BadParameter, match="is no domain"):
        domains(monkeypatch, value)
