"""Any other registry: a user and a password or token."""

from __future__ import annotations

import re

from pullgate.providers.guide import WRONG_LOGIN, Guide, Other, Trouble
from pullgate.providers.provider import Provider
from pullgate.providers.types.aws import looks_like_aws_key

_CONSOLE = "see its console"

_OTHERS = (
    Other("Oracle OCIR", "REGION.ocir.io", "NAMESPACE/USER", "auth token"),
    Other("IBM Cloud Container Registry", "REGION.icr.io", "`iamapikey`", "API key"),
    Other("Scaleway", "rg.REGION.scw.cloud", "any", "secret key", "api.scaleway.com"),
    Other("Alibaba Cloud", "registry.REGION.aliyuncs.com", "account", "password", "dockerauth.REGION.aliyuncs.com"),
    Other("Huawei Cloud SWR", "swr.REGION.myhuaweicloud.com", _CONSOLE, _CONSOLE),
    Other("Tencent Cloud TCR", "NAME.tencentcloudcr.com", _CONSOLE, _CONSOLE),
    Other("Red Hat", "registry.redhat.io", "service account, `ID\\|NAME`", "its token"),
    Other("Chainguard", "cgr.dev", "as the pull token says", "pull token"),
    Other("Docker Hardened Images", "dhi.io", "as the pull token says", "pull token"),
    Other(
        "NVIDIA NGC", "nvcr.io", "`$oauthtoken`", "API key", note="in YAML and shells, put the user in single quotes"
    ),
    Other("Iron Bank", "registry1.dso.mil", "user", "CLI secret", note="a Harbor: type Harbor takes it, too"),
    Other("Gitea, Forgejo", "your own", "user", "access token"),
    Other("Cloudsmith", "docker.cloudsmith.io", _CONSOLE, _CONSOLE, note="check the realm"),
    Other("JFrog Cloud", "NAME.jfrog.io", _CONSOLE, _CONSOLE, note="type Artifactory; check the realm"),
    Other("Elastic", "docker.elastic.co", _CONSOLE, _CONSOLE, note="check the realm"),
    Other("GitHub Enterprise Cloud", "containers.SUBDOMAIN.ghe.com", "any", "classic token", note="type GHCR"),
)
"""Collected from the vendors' own documentation; no vendor was asked over the network."""

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
        Trouble(
            "RedirectRefused",
            "it, or its storage, is in a private network",
            "spec.network.allowPrivate: true, and the administrator allows the network (docs/tenancy.md)",
        ),
    ),
    others=_OTHERS,
    notes=(
        "Without TLS: spec.tls.plainHTTP: true. With a private CA: spec.tls.caSecretRef.",
        "To check a realm: `curl -si https://HOST/v2/ | grep -i www-authenticate`. If its host is on another domain than spec.host, list it in spec.network.realmHosts.",
    ),
    user_example="puller",
)


def _suspect(user: str, password: str, _: str) -> str | None:
    if looks_like_aws_key(user, password):
        return "this is an AWS access key: type ECR takes it, in an Opaque Secret"
    if re.match(r"\s*\{", password):
        return "this is JSON: is it a key of Google, for type GAR?"
    return None


PROVIDERS = (Provider(_GUIDE, suspect=_suspect),)
