"""The vendor's steps at a provider so that Pullgate can pull from it, by type, ready to fill in. Pure.

A type's guide is in `pullgate.providers.types`; the same text is `pullgate registry guide TYPE` and docs/registries.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

UNFILLED = re.compile(r"\{([a-z]+)\}")
IDENTITY_HEADING = "Without a stored key: workload identity"


@dataclass(frozen=True, slots=True)
class Trouble:
    """An error that a vendor may see, and what it means there."""

    seen: str
    """A reason of the faults table, or words of the provider."""
    means: str
    do: str


@dataclass(frozen=True, slots=True)
class Identity:
    """How to pull without a stored key."""

    cloud: str
    """The field of spec.credentials.workloadIdentity."""
    fields: str
    """The value of that field, as YAML in one line."""
    steps: tuple[str, ...]
    trust: Mapping[str, str] = field(default_factory=dict)
    """The trust to set up at the provider: title -> text, ready to paste."""


@dataclass(frozen=True, slots=True)
class Other:
    """A registry that has no type of its own."""

    name: str
    host: str
    """The form of spec.host."""
    user: str
    password: str
    realm_hosts: str = ""
    """The entry of spec.network.realmHosts, if the token server is on another domain."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Guide:
    """One type. Texts hold placeholders such as {host}, {name}, {app}, {repository}."""

    type: str
    title: str
    summary: str
    steps: tuple[str, ...]
    """At the provider, in order."""
    secret: Mapping[str, str]
    """Key of the Secret -> placeholder; empty for anonymous."""
    secret_type: str = "Opaque"  # noqa: S105 - a type's name
    permission: str = ""
    """The least permission, ready to paste."""
    policies: Mapping[str, str] = field(default_factory=dict)
    """Further policies: when they are needed -> policy, ready to paste."""
    commands: tuple[str, ...] = ()
    """Commands of the provider's own command line, or of its API."""
    host: str = ""
    """An example, if the type does not fix the host."""
    troubles: tuple[Trouble, ...] = ()
    notes: tuple[str, ...] = ()
    user_example: str = "my-org"
    identity: Identity | None = None
    others: tuple[Other, ...] = ()
    """Registries that have no type of their own."""


GENERAL = (
    Trouble(
        "UpstreamUnreachable", "no connection: the name, a firewall, a NetworkPolicy", "check spec.host and egress"
    ),
    Trouble("UpstreamTLS", "its certificate is not trusted", "name its CA in spec.tls.caSecretRef"),
    Trouble("UpstreamRateLimited", "the provider limits the account", "wait, or use an account with a higher limit"),
)
"""The troubles of every type."""

WRONG_LOGIN = Trouble("UpstreamUnauthorized", "the user or the password is wrong, or was renewed", "change the Secret")


def render_guide(guide: Guide, values: Mapping[str, str]) -> str:
    """The guide as Markdown, filled in with `values`; a placeholder without a value becomes an UPPERCASE word."""
    parts = [f"# {guide.title}", "", guide.summary, "", "## At the provider", ""]
    parts += [f"{number}. {step}" for number, step in enumerate(guide.steps, 1)]
    if guide.permission:
        parts += ["", "The least permission:", *_block(guide.permission)]
    for when, text in guide.policies.items():
        parts += ["", f"{when}:", *_block(text)]
    if guide.commands:
        parts += ["", "By commands:"]
    for command in guide.commands:
        parts += _block(command)
    parts += ["", "## The Secret and the Registry", *_block(render_yaml(guide), "yaml")]
    if guide.identity is not None:
        parts += _render_identity(guide, guide.identity)
    parts += ["", "## Test it", *_block("pullgate registry test {name} -n {app} --image {repository}:{tag}")]
    parts += ["", "## Errors you may see", "", "| | means | do |", "|---|---|---|"]
    own = {trouble.seen.partition(",")[0] for trouble in guide.troubles}
    general = (trouble for trouble in GENERAL if trouble.seen not in own)
    parts += [f"| {t.seen} | {t.means} | {t.do} |" for t in (*guide.troubles, *general)]
    if guide.others:
        parts += _render_others(guide.others)
    if guide.notes:
        parts += ["", "## Good to know", "", *[f"- {note}" for note in guide.notes]]
    return fill("\n".join(parts) + "\n", values)


def _block(text: str, language: str = "") -> list[str]:
    return ["", f"```{language}", text, "```"]


def _render_others(others: tuple[Other, ...]) -> list[str]:
    parts = ["", "## Further registries", "", "| registry | spec.host | user | password | spec.network.realmHosts | |"]
    parts += ["|---|---|---|---|---|---|"]
    return [
        *parts,
        *(" | ".join(("| " + o.name, o.host, o.user, o.password, o.realm_hosts, o.note)) + " |" for o in others),
    ]


def _render_identity(guide: Guide, identity: Identity) -> list[str]:
    parts = ["", f"## {IDENTITY_HEADING}", ""]
    parts += [f"{number}. {step}" for number, step in enumerate(identity.steps, 1)]
    for when, text in identity.trust.items():
        parts += ["", f"{when}:", *_block(text)]
    parts += ["", "The ServiceAccount, the operator's right to its token and to no other, and the Registry:"]
    return [*parts, *_block(render_identity_yaml(guide, identity), "yaml")]


def render_identity_yaml(guide: Guide, identity: Identity) -> str:
    """The ServiceAccount, the operator's right to its token, and the Registry, with placeholders."""
    account, binding = "{name}-puller", "pullgate-{name}-puller"
    rbac = "rbac.authorization.k8s.io"
    operator = "{kind: ServiceAccount, name: pullgate-operator, namespace: pullgate-system}"
    lines = ["apiVersion: v1", "kind: ServiceAccount", f"metadata: {{name: {account}, namespace: {{app}}}}"]
    lines += ["automountServiceAccountToken: false # no pod uses it", "---"]
    lines += [f"apiVersion: {rbac}/v1", "kind: Role", f"metadata: {{name: {binding}, namespace: {{app}}}}", "rules:"]
    rule = f'apiGroups: [""], resources: [serviceaccounts/token], resourceNames: [{account}], verbs: [create]'
    lines += [f"  - {{{rule}}}"]
    lines += ["---", f"apiVersion: {rbac}/v1", "kind: RoleBinding"]
    lines += [f"metadata: {{name: {binding}, namespace: {{app}}}}"]
    lines += [f"roleRef: {{apiGroup: {rbac}, kind: Role, name: {binding}}}", f"subjects: [{operator}]", "---"]
    lines += ["apiVersion: pullgate.dev/v1alpha1", "kind: Registry", "metadata: {name: {name}, namespace: {app}}"]
    lines += ["spec:", f"  type: {guide.type}", *(["  host: {host}"] if guide.host else [])]
    lines += ["  credentials:", "    workloadIdentity:", f"      serviceAccountName: {account}"]
    lines += [f"      {identity.cloud}: {identity.fields}", '  repositories: ["{repository}"]']
    return "\n".join(lines)


def render_yaml(guide: Guide) -> str:
    """Secret and Registry, with placeholders."""
    lines = []
    if guide.secret:
        lines += ["apiVersion: v1", "kind: Secret", "metadata: {name: {name}-credentials, namespace: {app}}"]
        lines += [f"type: {guide.secret_type}", "stringData:"]
        for key, value in guide.secret.items():
            lines += [f"  {key}: |", f"    {value}"] if key == "serviceAccountKey" else [f'  {key}: "{value}"']
        lines += ["---"]
    credentials = "{secretRef: {name: {name}-credentials}}" if guide.secret else "{anonymous: {}}"
    lines += ["apiVersion: pullgate.dev/v1alpha1", "kind: Registry", "metadata: {name: {name}, namespace: {app}}"]
    lines += ["spec:", f"  type: {guide.type}", *(["  host: {host}"] if guide.host else [])]
    lines += [f"  credentials: {credentials}", '  repositories: ["{repository}"]']
    return "\n".join(lines)


def fill(text: str, values: Mapping[str, str]) -> str:
    """`text` with its placeholders replaced; one without a value becomes an UPPERCASE word."""
    return UNFILLED.sub(lambda found: values.get(found[1]) or found[1].upper(), text)
