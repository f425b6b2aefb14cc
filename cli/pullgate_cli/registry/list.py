"""`registry list`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pullgate_cli.place.options import PASSED, Where, output_option, place_options, run_in

if TYPE_CHECKING:
    from pullgate.store.port import Document
    from pullgate_cli.place.port import Place


@click.command(name="list")
@click.option("-A", "--all-namespaces", is_flag=True, help="Of every app.")
@output_option
@place_options
def list_(where: Where, all_namespaces: bool, output: str) -> None:
    """All Registries of an app, and how they stand."""

    async def work(place: Place) -> int:
        from pullgate_cli.place.port import words_for_nothing
        from pullgate_cli.printing import print_data, print_table, tell

        namespace = None if all_namespaces else place.namespace
        found = await place.list("Registry", namespace)
        if not found:
            tell(await words_for_nothing(place, ["Registry"], namespace))
        if output != "table":
            print_data(found, output)
            return PASSED
        columns = ("NAME", "READY", "REASON", "TYPE", "HOST", "DOMAINS")
        print_table((("APP",) if all_namespaces else ()) + columns, (_row(d, all_namespaces) for d in found))
        return PASSED

    run_in(where, work)


def _row(document: Document, app: bool) -> tuple[str, ...]:
    from pullgate.resources.conditions import read_condition
    from pullgate.resources.registry_type import REGISTRY_TYPES
    from pullgate_cli.printing import escape, verdict

    ready, spec, metadata = read_condition(document, "Ready"), document["spec"], document["metadata"]
    row = REGISTRY_TYPES.get(spec["type"])
    cells = (
        escape(metadata["name"]),
        verdict(ready.get("status", "Unknown")),
        escape(ready.get("reason", "not reconciled yet")),
        escape(spec["type"]),
        escape(spec.get("host") or (row.host if row is not None else "") or ""),
        escape(", ".join(_domains(document))),
    )
    return ((escape(metadata["namespace"]),) if app else ()) + cells


def _domains(document: Document) -> list[str]:
    """The domains of the spec; one that the operator refused is marked."""
    listed, shown = document["spec"].get("domains") or (), (document.get("status") or {}).get("domains")
    held = {str(domain).lower() for domain in listed} if shown is None else {row["name"] for row in shown}
    return [domain if str(domain).lower() in held else f"{domain} (not held)" for domain in listed]
