"""The pages of metrics and log fields say what the code has."""

from __future__ import annotations

from tests.support.reference_pages import DOCS, FIELDS, logged_fields, render_log, render_metrics


def test_the_page_of_metrics_is_what_the_code_exposes() -> None:
    assert (DOCS / "metrics.md").read_text() == render_metrics(), "run `python -m tests.support.reference_pages`"


async def test_the_page_of_the_access_log_names_each_field_that_is_written() -> None:
    assert await logged_fields() == set(FIELDS)
    assert (DOCS / "access-log.md").read_text() == render_log(), "run `python -m tests.support.reference_pages`"
