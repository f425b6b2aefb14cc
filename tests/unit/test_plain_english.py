"""The check of sentences finds those that do not begin with their subject, and no others."""

from __future__ import annotations

from pathlib import Path

import pytest
from scripts.plain_english import WORDS, check

SOURCE = '''"""{sentence}"""

def f() -> None:
    """The answer. {sentence}"""
    return lambda: "{sentence} as a string"  # {sentence}
'''


@pytest.mark.parametrize("word", WORDS)
def test_docstrings_and_comments_that_begin_without_their_subject_are_found(tmp_path: Path, word: str) -> None:
    file, sentence = tmp_path / "code.py", f"{word} a caller gets."
    file.write_text(SOURCE.format(sentence=sentence))
    assert check(file) == [f"{file}:{line}: {sentence}" for line in (1, 4, 5)]


@pytest.mark.parametrize("word", WORDS)
def test_a_list_a_table_and_a_second_sentence_of_a_page_are_checked(tmp_path: Path, word: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        f"Fine. {word} is not.\n- {word} ends.\n1. {word} asks.\n| {word} one | fine |\n| fine | {word} two | fine |\n"
    )
    assert [line.split(":")[1] for line in check(page)] == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize(
    "text",
    [
        "# {} is kept",
        "{} is kept?",
        "The words `{} one` are code.",
        'It prints: "{} now".',
        "{}ly is another word.",
        "```\n{} a shell prints\n```",
    ],
)
def test_headings_questions_quotations_and_code_are_left_alone(tmp_path: Path, text: str, word: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text.format(word) + "\n")
    assert check(page) == []


@pytest.mark.parametrize(
    "phrase",
    ["it is told", "they were told", "comes to its end", "has it", "of what", "whoever", "None where", "empty where"],
)
def test_phrases_that_hide_what_happens_are_found(tmp_path: Path, phrase: str) -> None:
    file, sentence = tmp_path / "code.py", f"The word {phrase} stands here."
    file.write_text(SOURCE.format(sentence=sentence))
    assert check(file) == [f"{file}:{line}: {sentence}" for line in (1, 4, 5)]
