"""Options that say where the resources are, as kubectl has them, and the run of a command there."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pullgate_cli.options import gather
from pullgate_cli.printing import tell

if TYPE_CHECKING:
    from pullgate_cli.place.port import Place

Command = TypeVar("Command", bound=Callable[..., Any])

PASSED, FAILED, COULD_NOT_RUN = 0, 1, 2
"""Exit codes."""


@dataclass(frozen=True, slots=True)
class Where:
    """The place that a command means."""

    folder: Path | None
    kubeconfig: Path | None
    context: str | None
    namespace: str | None


def place_options(command: Command) -> Command:
    """`--folder`, `--kubeconfig`, `--context`, `-n`: the command gets them as `where`."""

    def wrapped(
        folder: Path | None, kubeconfig: Path | None, context: str | None, namespace: str | None, **same: Any
    ) -> Any:
        if folder is not None and (kubeconfig is not None or context is not None):
            raise click.UsageError("give --folder, or --kubeconfig and --context, not both")
        return command(where=Where(folder, kubeconfig, context, namespace), **same)

    return gather(command, wrapped, _OPTIONS)


_OPTIONS = (
    click.option(
        "--folder",
        envvar="PULLGATE_FOLDER",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        metavar="DIR",
        help="A folder of YAML, as `standalone` serves it, in place of a cluster.  [env: PULLGATE_FOLDER]",
    ),
    click.option(
        "--kubeconfig", type=click.Path(exists=True, path_type=Path), help="[default: $KUBECONFIG, ~/.kube/config]"
    ),
    click.option("--context", metavar="NAME", help="The kubeconfig's context.  [default: the current one]"),
    click.option("-n", "--namespace", metavar="NAME", help="The app.  [default: the context's]"),
)

output_option = click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json", "yaml"]),
    default="table",
    show_default=True,
    help="How to print it.",
)


def run_in(where: Where, work: Callable[[Place], Awaitable[int]]) -> None:
    """Run `work` in the place, and end with its exit code; 2 where it could not run."""
    import asyncio

    from pullgate_cli.place.port import PlaceError

    async def run() -> int:
        async with open_place(where) as place:
            return await work(place)

    try:
        code = asyncio.run(run())
    except PlaceError as error:
        tell(f"pullgate: {error}")
        code = COULD_NOT_RUN
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


def open_place(where: Where) -> Any:
    """An async context manager of the Place. Raises PlaceError."""
    if where.folder is not None:
        import contextlib

        from pullgate_cli.place.folder import Folder

        return contextlib.nullcontext(Folder(where.folder, where.namespace))
    from pullgate_cli.place.cluster import open_cluster  # the library for it takes long to load

    return open_cluster(where.kubeconfig, where.context, where.namespace)
