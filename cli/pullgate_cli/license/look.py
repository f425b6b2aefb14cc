"""`license list`, `license show` and `license find`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pullgate.words import count
from pullgate_cli.place.options import COULD_NOT_RUN, FAILED, PASSED, Where, output_option, place_options, run_in

if TYPE_CHECKING:
    from pullgate.store.port import Document
    from pullgate_cli.place.port import Place


@click.command(name="list")
@click.option("-A", "--all-namespaces", is_flag=True, help="Of every app.")
@output_option
@place_options
def list_(where: Where, all_namespaces: bool, output: str) -> None:
    """All Licenses of an app, and how they stand."""

    async def work(place: Place) -> int:
        from pullgate_cli.place.port import words_for_nothing
        from pullgate_cli.printing import print_data, print_table, tell

        namespace = None if all_namespaces else place.namespace
        found = await place.list("License", namespace)
        if not found:
            tell(await words_for_nothing(place, ["License"], namespace))
        if output != "table":
            print_data([_plain(document) for document in found], output)
            return PASSED
        columns = ("NAME", "VALID", "REASON", "EXPIRES", "CUSTOMER", "PULLS", "LAST PULL")
        print_table((("APP",) if all_namespaces else ()) + columns, (_row(d, all_namespaces) for d in found))
        return PASSED

    run_in(where, work)


@click.command()
@click.argument("name")
@click.option("--reveal", is_flag=True, help="Print the license key, too.")
@output_option
@place_options
def show(where: Where, name: str, reveal: bool, output: str) -> None:
    """One License: what it covers, its keys, what was pulled. The key itself only with --reveal."""

    async def work(place: Place) -> int:
        from pullgate_cli.license.secret import read_license_key
        from pullgate_cli.place.port import require
        from pullgate_cli.printing import print_data

        document = await require(place, "License", name)
        key = await read_license_key(place, document) if reveal else None
        if output == "table":
            _show(document, key)
        else:
            print_data({**_plain(document), **({"key": key} if key else {})}, output)
        return PASSED

    run_in(where, work)


@click.command()
@output_option
@place_options
def find(where: Where, output: str) -> None:
    """Find the License that a key is of: `pullgate license find < FILE`. The key is read from standard input alone.

    FILE may hold more than the key, such as a log line or a license file; on a terminal the key is asked for.
    Without -n, every namespace is searched. Exit code 0: found; 1: no License has the key.
    """
    digest = _read_digest()

    async def work(place: Place) -> int:
        from pullgate_cli.license.keys import keys_of
        from pullgate_cli.printing import print_data, tell

        found = [
            (document, key)
            for document in await place.list("License", where.namespace)
            for key in keys_of(document)
            if key["digest"] == digest
        ]
        if output != "table":
            rows = [
                {"namespace": d["metadata"]["namespace"], "name": d["metadata"]["name"], "key": k} for d, k in found
            ]
            print_data(rows, output)
        elif found:
            _show_found(found)
        if not found:
            tell(f"no License of {where.namespace or place.title} has this key, nor had it lately")
        return PASSED if found else FAILED

    run_in(where, work)


INPUT_LIMIT = 1 << 20


def _read_digest() -> str:
    """Read one key from standard input and return its digest alone. Without a key the command ends with 2."""
    import re
    import sys

    from pullgate.faults import KeyMalformed
    from pullgate.licensing.keys import check_key, digest_text, key_digest

    if sys.stdin.isatty():
        text = str(click.prompt("License key", hide_input=True, err=True))
    else:
        text = sys.stdin.buffer.read(INPUT_LIMIT).decode("utf-8", "replace")
    keys = list(dict.fromkeys(re.findall(r"pgk_[0-9A-Za-z]+", text)))
    if len(keys) != 1:
        words = "holds more than one license key" if keys else "holds no license key: these begin with pgk_"
        click.echo(f"pullgate: standard input {words}", err=True)
        sys.exit(COULD_NOT_RUN)
    try:
        check_key(keys[0])
    except KeyMalformed as fault:
        click.echo(f"pullgate: {fault.sentence}", err=True)
        sys.exit(COULD_NOT_RUN)
    return digest_text(key_digest(keys[0]))


def _show_found(found: list[tuple[Document, Any]]) -> None:
    from pullgate_cli.license.keys import state_of
    from pullgate_cli.printing import escape, print_table, tell

    rows = []
    for document, key in found:
        metadata, customer = document["metadata"], document["spec"].get("customer") or {}
        cells = (metadata["namespace"], metadata["name"], customer.get("name", ""), key["id"], state_of(key))
        rows.append([escape(cell) for cell in cells])
    print_table(("APP", "LICENSE", "CUSTOMER", "KEY", "STATE"), rows)
    for document, key in found:
        if "revokedAt" not in key:
            metadata = document["metadata"]
            tell(f"to end it: pullgate license revoke {metadata['name']} {key['id']} -n {metadata['namespace']}")


def _plain(document: Document) -> Document:
    metadata = {k: v for k, v in document["metadata"].items() if k != "managedFields"}
    return {**document, "metadata": metadata}


def _row(document: Document, app: bool) -> tuple[str, ...]:
    from pullgate.resources.conditions import read_condition
    from pullgate_cli.printing import escape, verdict

    valid, spec, usage = read_condition(document, "Valid"), document["spec"], _status(document, "usage")
    cells = (
        escape(document["metadata"]["name"]),
        verdict(valid.get("status", "Unknown")),
        escape(valid.get("reason", "not reconciled yet")),
        escape(spec.get("expiresAt", "never")),
        escape((spec.get("customer") or {}).get("name", "")),
        str(usage.get("pulls24h", "")),
        escape(usage.get("lastPullAt", "")),
    )
    return ((escape(document["metadata"]["namespace"]),) if app else ()) + cells


def _status(document: Document, name: str) -> Any:
    return (document.get("status") or {}).get(name) or {}


def _show(document: Document, key: str | None) -> None:
    from pullgate_cli.printing import console, escape

    out, spec, metadata = console(), document["spec"], document["metadata"]
    customer = spec.get("customer") or {}
    rows = [
        ("License", f"{metadata['namespace']}/{metadata['name']}"),
        ("Customer", " ".join(str(v) for v in customer.values())),
        ("From", spec.get("notBefore", "")),
        ("Until", spec.get("expiresAt", "without an end")),
        ("Suspended", _suspension(spec)),
    ]
    rows += [(c["type"], f"{c['status']}: {c['reason']}: {c['message']}") for c in _status(document, "conditions")]
    rows += [("May pull" if not n else "", _entitlement(e)) for n, e in enumerate(spec["entitlements"])]
    rows += [("Keys" if not n else "", _key(k)) for n, k in enumerate(_status(document, "keys"))]
    usage = _status(document, "usage")
    if usage:
        words = (
            f"{count(usage['pulls24h'], 'pull')}, {usage['bytes24h']:,} bytes, {usage['denied24h']} denied in 24 hours"
        )
        rows.append(("Usage", f"{words}; last pull {usage.get('lastPullAt', 'never')}"))
        if usage.get("tests24h"):
            rows.append(
                ("Tests", f"{count(usage['tests24h'], 'request')} of tests in 24 hours, in none of these figures")
            )
    secrets = _status(document, "secrets")
    if secrets:
        rows.append(("Secrets", f"{secrets['license']} (license file), {secrets['pull']} (for the customer's cluster)"))
    if key is not None:
        rows.append(("Key", key))
    for label, text in rows:
        if text:
            out.print(f"[bold]{label:<13}[/]{escape(text)}", soft_wrap=True)


def _suspension(spec: Any) -> str:
    suspended = spec.get("suspended")
    return "" if suspended is None else suspended.get("reason") or "yes"


def _entitlement(entitlement: Any) -> str:
    tags = entitlement.get("tags") or {}
    rules = [*(tags.get("match") or ()), *([tags["semver"]] if tags.get("semver") else ())]
    where = entitlement.get("registry") or "any Registry"
    return f"{', '.join(entitlement['repositories'])} of {where}" + (f", tags {', '.join(rules)}" if rules else "")


def _key(key: Any) -> str:
    from pullgate_cli.license.keys import state_of

    return f"{key['id']}: issued {key['issuedAt']}, {state_of(key)}, last used {key.get('lastUsedAt', 'never')}"
