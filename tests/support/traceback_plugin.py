"""A test fails if the product logs a traceback that the test does not expect.

The marker `logs_traceback(pattern, ...)` names the expected ones: each pattern must match one, and covers all that it
matches. A traceback is charged to the test during which it was found; a program that outlives its test, and a task that
only the garbage collector ends, may charge a later test, or the last one of the run.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Generator
from typing import Any

import pytest

from tests.support.tracebacks import TracebackHandler, look, look_at_files, take

MARKER = "logs_traceback"
_HANDLER = TracebackHandler()


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and listen to the root logger: a test that replaces caplog's handler changes nothing."""
    config.addinivalue_line("markers", f"{MARKER}(pattern, ...): the product logs these tracebacks in this test")
    logging.getLogger().addHandler(_HANDLER)


def pytest_unconfigure() -> None:
    """Leave no handler behind."""
    logging.getLogger().removeHandler(_HANDLER)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, Any, Any]:
    """Search the logs of the test, and after the last test of the run (or of its worker) all of them."""
    result = yield
    if nextitem is None:
        gc.collect()  # asyncio tells of an exception that nobody retrieved when its task is collected
        factory: pytest.TempPathFactory = item.config._tmp_path_factory  # type: ignore[attr-defined]
        look_at_files(factory.getbasetemp())
    else:
        look_at_files(getattr(item, "funcargs", {}).get("tmp_path"))
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Fail the test after its fixtures ended, with each traceback that it does not expect."""
    report: pytest.TestReport = yield
    if call.when != "teardown":
        return report
    for title, text in report.sections:
        if title.startswith(("Captured stdout", "Captured stderr")):
            look(title, text)
    expected = [pattern for marker in item.iter_markers(MARKER) for pattern in marker.args]
    found, unused = take(expected)
    words = [f"a traceback that this test does not expect, in {each}" for each in found]
    words += [f"no traceback matches {pattern!r}, which this test expects" for pattern in unused]
    if not words:
        return report
    if report.passed:
        report.outcome, report.longrepr = "failed", "\n\n".join(words)
    else:
        report.sections.extend(("traceback", each) for each in words)
    return report
