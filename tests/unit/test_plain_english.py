"""The check of sentences finds those that do not begin with their subject, and no others."""

from __future__ import annotations

from pathlib import Path

import pytest
from scripts.plain_english import check

SOURCE = '''"""{sentence}"""

def f() -> None:
    """The answer. {sentence}"""
    return lambda: "Whether this string is checked"  # {sentence}
'''


@pytest.mark.parametrize(
    "sentence",
    ["What a caller gets.", "Whether it is there.", "Where it stands.", "Who asks.", "Of one host.", "Which of them."],
)
def test_docstrings_and_comments_that_begin_without_their_subject_are_found(tmp_path: Path, sentence: str) -> None:
    file = tmp_path / "code.py"
    file.write_text(SOURCE.format(sentence=sentence))
    assert check(file) == [f"{file}:{line}: {sentence}" for line in (1, 4, 5)]


def test_a_list_a_table_and_a_second_sentence_of_a_page_are_checked(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("Fine. What is not.\n- Where it ends.\n1. Who asks.\n| Of one | fine |\n")
    assert [line.split(":")[1] for line in check(page)] == ["1", "2", "3", "4"]


@pytest.mark.parametrize(
    "text",
    [
        "# What is kept",
        "What is kept?",
        "The words `Of one` are code.",
        'It prints: "What now".',
        "Off it goes. Whatsoever.",
        "```\nWhat a shell prints\n```",
    ],
)
def test_headings_questions_quotations_and_code_are_left_alone(tmp_path: Path, text: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text + "\n")
    assert check(page) == []
