"""A run fails if the product logged a traceback that its test does not expect, wherever it was logged."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import tracebacks
from tests.support.clients.command import run
from tests.support.cluster.process import Program

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]
OPTIONS = ["-p", "tests.support.traceback_plugin", "-p", "no:cacheprovider", "-c", "/dev/null"]

LOGGED = {
    "an exception that is logged": "log.exception('%s failed', 'it')",
    "an exception that is logged as a warning": "log.warning('it failed', exc_info=True)",
    "a traceback in a message": "log.error('Traceback (most recent call last): it')",
    "an error of kopf": "logging.getLogger('kopf.objects').error('Handler failed temporarily')",
    "an exception nobody retrieved": "asyncio.run(lose())",
    "output of a child": "subprocess.run([sys.executable, '-c', '1/0'])",
    "the log of a child": "subprocess.run([sys.executable, '-c', '1/0'], stderr=(tmp_path / 'stderr').open('wb'))",
}
BEGIN = """
import asyncio, gc, logging, subprocess, sys
import pytest
log = logging.getLogger("product")
async def fail():
    raise ValueError("planted")
async def lose():
    task = asyncio.create_task(fail())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    del task
    gc.collect()
"""


@pytest.fixture
def inner(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.Pytester]:
    """Runs pytest with the plugin alone; its planted logs are removed, or the outer run would find them."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    yield pytester
    shutil.rmtree(pytester.path)


def run_inner(inner: pytest.Pytester, body: str, *options: str) -> pytest.RunResult:
    inner.makepyfile(test_planted=BEGIN + body)
    base = inner.path / "base"
    return inner.run(sys.executable, "-m", "pytest", *OPTIONS, "--basetemp", str(base), *options, str(inner.path))


def test_each_kind_of_traceback_fails_its_own_test(inner: pytest.Pytester, capfd: pytest.CaptureFixture[str]) -> None:
    body = "".join(
        f"def test_{number}(tmp_path):\n    {line}\n    print('goes on')\ndef test_{number}_is_clean(): pass\n"
        for number, line in enumerate(LOGGED.values())
    )
    result = run_inner(inner, body)
    capfd.readouterr()
    result.assert_outcomes(passed=2 * len(LOGGED), errors=len(LOGGED))
    assert result.ret == 1
    for number in range(len(LOGGED)):
        result.stdout.fnmatch_lines(f"ERROR *::test_{number}*")


def test_a_worker_of_xdist_fails_its_test_too(inner: pytest.Pytester, capfd: pytest.CaptureFixture[str]) -> None:
    result = run_inner(inner, "def test_it():\n    log.exception('it')\n", "-n", "1")
    capfd.readouterr()
    result.assert_outcomes(passed=1, errors=1)
    assert result.ret == 1


def test_an_expected_traceback_passes_and_one_that_never_comes_fails(
    inner: pytest.Pytester, capfd: pytest.CaptureFixture[str]
) -> None:
    body = """
@pytest.mark.logs_traceback("it failed")
def test_expected():
    log.error("it failed", exc_info=True)
@pytest.mark.logs_traceback("it failed")
def test_another():
    log.error("it failed", exc_info=ValueError("x"))
    log.error("more failed", exc_info=ValueError("x"))
@pytest.mark.logs_traceback("it failed")
def test_none(): pass
"""
    result = run_inner(inner, body)
    capfd.readouterr()
    result.assert_outcomes(passed=3, errors=2)
    result.stdout.fnmatch_lines(["*at teardown of test_another*", "more failed", "no traceback matches 'it failed'*"])


def test_a_log_that_a_session_leaves_fails_the_run(inner: pytest.Pytester, capfd: pytest.CaptureFixture[str]) -> None:
    body = """
@pytest.fixture(scope="session")
def server(tmp_path_factory):
    log = tmp_path_factory.mktemp("server") / "operator.log"
    yield
    log.write_text("Traceback (most recent call last):\\n  File x\\nOSError: planted\\n")
def test_it(server): pass
"""
    result = run_inner(inner, body)
    capfd.readouterr()
    result.assert_outcomes(passed=1, errors=1)


def test_a_coroutine_that_is_never_awaited_fails_its_test(
    inner: pytest.Pytester, capfd: pytest.CaptureFixture[str]
) -> None:
    """The repository's own settings turn the warning into an error."""
    shutil.copy(ROOT / "pyproject.toml", inner.path)
    (inner.path / "tests").mkdir()
    inner.makepyfile(**{"tests/test_it": "async def f(): pass\ndef test_it():\n    f()\n"})
    result = inner.run(sys.executable, "-m", "pytest", "tests/test_it.py")
    capfd.readouterr()
    assert result.ret == 1


@pytest.mark.logs_traceback("ZeroDivisionError: division by zero")
async def test_the_output_of_a_command_is_searched() -> None:
    await run([sys.executable, "-c", "1/0"])


@pytest.mark.logs_traceback("(?s)started.*ZeroDivisionError")
def test_the_log_of_a_program_is_searched_while_it_runs(tmp_path_factory: pytest.TempPathFactory) -> None:
    log = tmp_path_factory.mktemp("elsewhere") / "log"
    program = Program([sys.executable, "-c", "print('started', flush=True); 1/0"], log)
    program.is_product = True
    program.start()
    program.wait()
    program.stop()


def test_a_chain_of_exceptions_is_one_finding_with_what_was_logged_before_it() -> None:
    part = "Traceback (most recent call last):\n  File x\n\n  more\n"
    chain = (
        f"{part}KeyError: 1\n\nDuring handling of the above exception, another exception occurred:\n\n{part}OSError: 2"
    )
    tracebacks.look("a log", f"one\nERROR pullgate: it failed\n{chain}\nnext\nlast\n{part}ValueError: 3\n")
    found, _ = tracebacks.take()
    assert [each.text for each in found] == [
        f"one\nERROR pullgate: it failed\n{chain}",
        f"next\nlast\n{part}ValueError: 3",
    ]


def test_plain_lines_are_no_findings() -> None:
    tracebacks.look("a log", "INFO kopf: started\nERROR pullgate: no Traceback here\n" * 1000)
    assert tracebacks.take() == ([], [])
