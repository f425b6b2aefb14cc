"""`registry guide`."""

from __future__ import annotations

import difflib

import click

from pullgate.resources.registry_type import REGISTRY_TYPES


@click.command()
@click.argument("type_", required=False, metavar="[TYPE]")
@click.option("--name", metavar="NAME", help="Of the Registry.")
@click.option("-n", "--namespace", metavar="NAME", help="The app.")
@click.option("--host", metavar="HOST", help="Of the registry, where the type does not fix it.")
@click.option("--repository", metavar="GLOB", help="What may be pulled, like my-org/api.")
@click.option("--set", "more", multiple=True, metavar="WORD=VALUE", help="Another placeholder: region=…, account=…")
@click.option("--identity", is_flag=True, help="With -o yaml: by a workload identity, without a stored key.")
@click.option("-o", "--output", type=click.Choice(["text", "markdown", "yaml"]), default="text", show_default=True)
def guide(
    type_: str | None,
    name: str | None,
    namespace: str | None,
    host: str | None,
    repository: str | None,
    more: tuple[str, ...],
    identity: bool,
    output: str,
) -> None:
    """Print what to create at the provider, the least permission, the Secret, the Registry, and possible errors.

    Without TYPE, print the types. `-o yaml` prints the Secret and the Registry alone; with `--identity` the
    Registry, its ServiceAccount and the operator's right to that one's token.
    """
    from pullgate.providers.guide import fill, render_guide, render_identity_yaml, render_yaml
    from pullgate.providers.types import GUIDES
    from pullgate_cli.printing import console, escape, print_table

    if type_ is None:
        print_table(("TYPE", "", ""), ([g.type, escape(g.title), escape(g.summary)] for g in GUIDES.values()))
        return
    found = GUIDES[_find(type_)]
    values = {
        "name": name or found.type.lower(),
        "app": namespace or "my-app",
        "host": host or found.host or REGISTRY_TYPES[found.type].host or "",
    }
    values |= {"repository": repository or ""}
    for word in more:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"{word!r}: write it like region=eu-central-1", param_hint="--set")
        values[key] = value
    if output == "yaml":
        if identity and found.identity is None:
            raise click.UsageError(f"type {found.type} knows no workload identity")
        way = found.identity if identity else None
        click.echo(fill(render_identity_yaml(found, way) if way is not None else render_yaml(found), values))
        return
    text = render_guide(found, values)
    out = console()
    if output == "markdown" or not out.is_terminal:
        click.echo(text, nl=False)
        return
    from rich.markdown import Markdown

    out.print(Markdown(text))


def _find(text: str) -> str:
    by_lower = {name.lower(): name for name in REGISTRY_TYPES}
    if text.lower() in by_lower:
        return by_lower[text.lower()]
    near = difflib.get_close_matches(text.lower(), by_lower, 1, cutoff=0.5)
    words = f"did you mean {by_lower[near[0]]}?" if near else f"one of {', '.join(REGISTRY_TYPES)}"
    raise click.BadParameter(f"{text!r} is no type: {words}", param_hint="TYPE")
