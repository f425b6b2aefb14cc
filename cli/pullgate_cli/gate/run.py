"""The probes of a gate, with a table that grows while they run."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from pullgate.upstream.probe import ImageResult, ProbeOptions, ProbeTarget, probe_all
from pullgate_cli.gate.report import Asked, Place, Report, actors_of
from pullgate_cli.printing import console, escape


class Board:
    """Lines for people: on a terminal a bar of progress below them, in a pipe the lines alone."""

    def __init__(self, total: int, *, shown: bool, several: bool) -> None:
        self._shown, self._several = shown, several
        self._out = console()
        self._progress: Any = None
        if shown and self._out.is_terminal:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

            columns = (TextColumn("testing"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            self._progress = Progress(*columns, console=self._out, transient=True)
            self._task = self._progress.add_task("testing", total=total)
            self._progress.start()

    def tell(self, who: str, result: ImageResult) -> None:
        """One image is known."""
        if self._progress is not None:
            self._progress.advance(self._task)
        if not self._shown:
            return
        as_ = f" [dim]as {escape(who)}[/]" if self._several else ""
        mark = "[green]✓[/]" if result.passed else "[red]✗[/]"
        platforms = ", ".join(p.platform for p in result.platforms if p.platform)
        about = f" [dim]{_size(result.size)} {escape(platforms)}[/]" if result.passed else ""
        self._print(f"{mark} {escape(result.image)}{as_} [dim]{result.duration:.2f} s[/]{about}")
        if not result.passed:
            who_moves = " or ".join(actors_of(result.reason))
            self._print(f"    [red]{result.reason}[/]: {escape(result.message)}")
            next_ = f": {escape(result.hint)}" if result.hint else ""
            self._print(f"    the move is the [bold]{who_moves}[/]'s{next_}")

    def stop(self) -> None:
        """End the bar of progress."""
        if self._progress is not None:
            self._progress.stop()

    def end(self, report: Report) -> None:
        """Print the summary."""
        if self._shown:
            for who, notice in report.notices():
                self._print(f"[yellow]as {escape(who)}[/]: {escape(notice)}")
            colour = "green" if report.passed else "red"
            self._print(f"[{colour} bold]{report.summary}[/] in {report.seconds:.1f} s")

    def _print(self, text: str) -> None:
        self._out.print(text, soft_wrap=True)
        if not self._out.is_terminal:
            sys.stdout.flush()


def show(report: Report, *, shown: bool) -> Report:
    """Tell a report that was made elsewhere."""
    board = Board(0, shown=shown, several=len(report.runs) > 1)
    for run in report.runs:
        for result in run.results:
            board.tell(run.who, result)
    board.end(report)
    return report


def _size(size: int) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            return f"{size:.0f} {unit}"
        size //= 1024
    return ""


async def run_gate(
    targets: Mapping[str, Sequence[ProbeTarget | ImageResult]],
    options: ProbeOptions,
    places: Mapping[str, tuple[Place, ...]],
    *,
    shown: bool,
) -> Report:
    """Probe everything; one who asks after the other, so that the limit of requests holds for all."""
    board = Board(sum(len(rows) for rows in targets.values()), shown=shown, several=len(targets) > 1)
    began, runs = time.monotonic(), []
    try:
        for who, rows in targets.items():
            asked = [row for row in rows if isinstance(row, ProbeTarget)]
            for row in rows:
                if isinstance(row, ImageResult):
                    board.tell(who, row)
            found = await probe_all(asked, options, on_result=lambda result, who=who: board.tell(who, result))  # type: ignore[misc]
            answers = iter(found)
            results = tuple(row if isinstance(row, ImageResult) else next(answers) for row in rows)
            runs.append(Asked(who, results))
    finally:
        board.stop()
    report = Report(tuple(runs), time.monotonic() - began, places)
    board.end(report)
    return report
