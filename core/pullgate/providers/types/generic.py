"""Any other registry: a user and a password or token."""

from __future__ import annotations

import re

from pullgate.providers.guide import WRONG_LOGIN, Guide, Trouble
from pullgate.providers.provider import Provider
from pullgate.providers.types.aws import looks_like_aws_key

_GUIDE = Guide(
    type="Generic",
    title="Any registry of the OCI distribution-spec",
    summary="A user and a password or token that may pull.",
    steps=("An account for Pullgate alone, that may pull and nothing else.",),
    secret={"username": "{user}", "password": "{token}"},
    secret_type="kubernetes.io/basic-auth",  # noqa: S106 - a type's name
    host="registry.example.com",
    troubles=(
        WRONG_LOGIN,
        Trouble("UpstreamForbidden", "the account may not read the repository", "let it pull"),
        Trouble("RealmRefused", "it names a token server on another domain", "list it in spec.network.realmHosts"),
        Trouble("RedirectRefused", "it, or its storage, is in a private network", "spec.network.allowPrivate: true"),
    ),
    notes=("Without TLS: spec.tls.plainHTTP: true. With a private CA: spec.tls.caSecretRef.",),
    user_example="puller",
)


def _suspect(user: str, password: str, _: str) -> str | None:
    if looks_like_aws_key(user, password):
        return "this is an AWS access key: type ECR takes it, in an Opaque Secret"
    if re.match(r"\s*\{", password):
        return "this is JSON: is it a key of Google, for type GAR?"
    return None


PROVIDERS = (Provider(_GUIDE, suspect=_suspect),)
