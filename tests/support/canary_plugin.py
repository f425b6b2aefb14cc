"""After each test, and after all of them: no secret in what was logged, printed, answered, kept or counted.

While tests run, `canaries.look` searches each answer of the proxy, its access log and metrics, and the output of each
command and program. This plugin searches log records, captured output, and at the end all files of the product.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import pytest

from tests.support.canaries import FOUND, look, require_none, search_product_files


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Search what a test or its fixtures printed: the product's output, if it ran in the test's own process."""
    report = yield
    if report.passed:  # what failed shows what it compared
        for title, text in report.sections:
            look(f"{item.nodeid}, {title}", text)
    return report


@pytest.fixture(autouse=True)
def no_secret_leaves_the_product(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """During any test, no log record, answer or output of the product holds a secret."""
    yield
    for when in ("setup", "call"):
        for record in caplog.get_records(when):
            look(f"log of {record.name}", record.getMessage() + str(record.exc_text or ""))
    require_none(request.node.nodeid)


@pytest.fixture(scope="session", autouse=True)
def no_secret_is_left_behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """At the end of the run (of a worker's part of it): what fixtures of the session left, and all files."""
    yield
    FOUND.extend(search_product_files(tmp_path_factory.getbasetemp()))
    require_none("the whole run")
