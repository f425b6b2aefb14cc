"""How commands print: colours and tables on a terminal, plain text in a pipe, JSON and YAML for programs."""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from pullgate.clean_text import clean, clean_json

if TYPE_CHECKING:
    from rich.console import Console

WIDE = 1000
"""Columns in a pipe: nothing is folded there."""


def console(*, stderr: bool = False) -> Console:
    """Standard output (or error) as a rich console; without colours and folding where it is no terminal."""
    from rich.console import Console

    class Plain(Console):
        def on_broken_pipe(self) -> None:
            """See Console, which would exit with 1: that is a command's own answer."""
            raise BrokenPipeError(errno.EPIPE, "the reader left")

    made = Plain(stderr=stderr, highlight=False, soft_wrap=False)
    if not made.is_terminal:
        made.width = WIDE
    return made


def print_data(data: Any, form: str) -> None:
    """`data` as json or yaml on standard output."""
    click.echo(render_json(data) if form == "json" else render_yaml(data), nl=False)


def render_json(data: Any) -> str:
    """`data` as JSON for programs and people: letters of every language as they are."""
    return clean_json(json.dumps(data, indent=2, ensure_ascii=False)) + "\n"


def render_yaml(*documents: Any) -> str:
    """`documents` as YAML, in the same way."""
    import yaml

    class Dumper(yaml.SafeDumper):
        def analyze_scalar(self, scalar: str) -> Any:
            """Quote a text with a character that PyYAML would write as it is."""
            analysis = super().analyze_scalar(scalar)
            if clean(scalar, lines=True) != scalar:
                analysis.allow_flow_plain = analysis.allow_block_plain = False
                analysis.allow_single_quoted = analysis.allow_block = False
            return analysis

    options: dict[str, Any] = {"sort_keys": False, "allow_unicode": True, "width": WIDE}
    return clean_json(str(yaml.dump_all(documents, Dumper=Dumper, **options)))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table; cells may hold rich markup, so escape what came from outside."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console().print(table)


def escape(text: object) -> str:
    """External text as rich markup that shows it literally; `clean` escapes characters that steer a terminal."""
    from rich.markup import escape as escaped

    return escaped(clean(str(text)))


def verdict(status: str) -> str:
    """True, False or Unknown of a condition, coloured."""
    word, colour = {"True": ("yes", "green"), "False": ("no", "red")}.get(status, ("?", "yellow"))
    return f"[{colour}]{word}[/]"


def tell(text: str) -> None:
    """One line for people on standard error: standard output stays what a program reads."""
    print(clean(text, lines=True), file=sys.stderr)
