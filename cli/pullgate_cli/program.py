"""The top of the command line: output that any terminal takes, and exit codes for output that nobody takes."""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import Any, Final

import click

from pullgate.clean_text import clean
from pullgate_cli.lazy import LazyGroup

COULD_NOT_RUN: Final = 2
INTERRUPTED: Final = 130
PIPE_CLOSED: Final = 141
"""128 + SIGPIPE, as for any program whose reader left: 1 would say that what was asked is not so."""

_MARKS: Final = {"✓": "+", "✗": "x", "…": "..."}


class Program(LazyGroup):
    """The group of all commands."""

    def main(self, *args: Any, **options: Any) -> Any:
        """See click.Command."""
        for stream in (sys.stdout, sys.stderr):
            make_printable(stream)
        return super().main(*args, **options)

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        """See click.Command: --help and --version print here."""
        with _output_guarded(), _errors_cleaned():
            return super().make_context(*args, **options)

    def invoke(self, ctx: click.Context) -> Any:
        """See click.Command."""
        with _output_guarded(), _errors_cleaned():
            return super().invoke(ctx)


@contextlib.contextmanager
def _errors_cleaned() -> Iterator[None]:
    """Print what is wrong with an option's value, which may come from a script, in letters alone."""
    try:
        yield
    except click.ClickException as error:
        error.message = clean(error.message, lines=True)  # type: ignore[misc]  # class, context and code stay
        raise


@contextlib.contextmanager
def _output_guarded() -> Iterator[None]:
    """Write all output, and exit with a code of its own if nobody takes it: a later error would have none."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except OSError as error:
        if error.filename is not None or error.errno not in (errno.EPIPE, errno.ENOSPC, errno.EIO):
            raise
        _drop_output()
        if error.errno == errno.EPIPE:
            sys.exit(PIPE_CLOSED)
        with contextlib.suppress(OSError):
            print(f"pullgate: standard output cannot be written: {error.strerror}", file=sys.stderr)
        sys.exit(COULD_NOT_RUN)


def make_printable(stream: object) -> None:
    """Print, in place of a character that the locale's encoding lacks, its nearest form in ASCII."""
    codecs.register_error("pullgate", _replace)
    if isinstance(stream, io.TextIOWrapper) and codecs.lookup(stream.encoding).name != "utf-8":
        stream.reconfigure(errors="pullgate")


def _replace(error: UnicodeError) -> tuple[str, int]:
    from pullgate.faults import ascii_text

    if not isinstance(error, UnicodeEncodeError):
        raise error
    lost = error.object[error.start : error.end]
    return "".join(_MARKS.get(c) or ascii_text(c) or "?" for c in lost), error.end


def _drop_output() -> None:
    """Let the interpreter's own flush at its end succeed."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
