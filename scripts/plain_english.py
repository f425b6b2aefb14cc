#!/usr/bin/env python3
"""Find sentences of docstrings, comments and pages that do not begin with their subject, or hide what happens.

    scripts/plain_english.py FILE…     Python and Markdown

A sentence that begins with "What …" or "Whether …" has to be read to its end before its subject is known. "Is told"
and "has it" do not say who does what. Exit code 1 and FILE:LINE: SENTENCE for each. Questions, headings, quotations and
code are left out.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

WORDS = ("What", "Who", "Whose", "Whether", "Where", "Which", "Whatever", "Whoever", "Of")
START = re.compile(rf"(?:{'|'.join(WORDS)})\b")
PHRASES = re.compile(
    r"\b(?:(?:is|are|was|were|be|been) told|comes? to (?:its|an|the) end|(?:has|have) it|of what|whoever|of ours)\b"
    r"|\b(?:None|False|True|[Ee]mpty) where\b"
)
CUT = re.compile(r"(?<=[.:;!?])\s+|\n\s*\n|\s\|\s")
PREFIX = re.compile(r"(?:[-*|>\s]|\d+\.\s)*")
CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
QUOTED = re.compile(r"`[^`]*`|\"[^\"\n]*\"")


def find(text: str) -> Iterator[tuple[int, str]]:
    """(offset, sentence) of those that begin with another word than their subject's, or have one of `PHRASES`."""
    plain = QUOTED.sub(lambda match: "x" * len(match[0]), text)
    begin = 0
    for cut in [*CUT.finditer(plain), None]:
        end = cut.start() if cut else len(plain)
        at = begin + len(PREFIX.match(plain[begin:end])[0])  # type: ignore[index]  # it matches the empty string
        asks = plain[:end].endswith("?")
        if not asks and (START.match(plain, at, end) or PHRASES.search(plain, at, end)):
            yield at, " ".join(text[at:end].split())
        begin = cut.end() if cut else end


def texts_of_python(source: str) -> Iterator[tuple[int, str]]:
    """(line, text) of each docstring and comment."""
    for node in ast.walk(ast.parse(source)):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else ():  # a lambda's is an expression
            value = statement.value if isinstance(statement, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield value.lineno, value.value
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string.lstrip("#: ")


def texts_of_page(source: str) -> Iterator[tuple[int, str]]:
    """(line, text) of each line of a Markdown page but its headings, which are no sentences."""
    blank = CODE.sub(lambda match: "\n" * match[0].count("\n"), source)
    for number, line in enumerate(blank.split("\n"), 1):
        if not line.startswith("#"):
            yield number, line


def check(path: Path) -> list[str]:
    """A line for each sentence of the file."""
    source = path.read_text()
    texts = texts_of_page if path.suffix == ".md" else texts_of_python
    return [
        f"{path}:{line + text[:offset].count(chr(10))}: {sentence[:160]}"
        for line, text in texts(source)
        for offset, sentence in find(text)
    ]


def main() -> int:
    """The exit code."""
    found = [line for name in sys.argv[1:] for line in check(Path(name))]
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
