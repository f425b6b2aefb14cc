"""The hosts that may see a token that was asked for: those of its own service, by https."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest

from pullgate import faults
from pullgate.policy.facts import RegistryFacts
from pullgate.providers.credentials import Credentials
from pullgate.providers.destination import DESTINATIONS, may_show
from pullgate.providers.handoff import Handoff, decode_handoff, encode_handoff
from pullgate.resources import Registry, parse_resource
from pullgate.resources.compile import registry_facts, registry_hosts
from pullgate.shares import Shares
from pullgate.upstream.compile import upstream_config
from pullgate.upstream.config import UpstreamConfig
from pullgate.upstream.guard import Guard
from pullgate_proxy.settings import ProxySettings
from pullgate_proxy.state.snapshot import RegistryEntry, Snapshot
from pullgate_proxy.state.upstreams import Upstreams

OWN = {
    "ECRToken": (
        "123456789012.dkr.ecr.eu-central-1.amazonaws.com",
        "123456789012.dkr.ecr.eu-central-1.amazonaws.com:443",
        "123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com",
        "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
        "123456789012.dkr-ecr.eu-west-1.on.aws",
        "123456789012.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn",
        "123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu",
        "123456789012.dkr.ecr.us-iso-east-1.c2s.ic.gov",
        "123456789012.dkr.ecr.us-isob-east-1.sc2s.sgov.gov",
    ),
    "ECRPublicToken": ("public.ecr.aws", "ecr-public.aws.com"),
    "GoogleAccessToken": (
        "gcr.io",
        "eu.gcr.io",
        "us-docker.pkg.dev",
        "europe-west1-docker.pkg.dev",
        "docker.europe-west1.rep.pkg.dev",
    ),
    "ACRRefreshToken": ("myregistry.azurecr.io", "my-b2c3.azurecr.io", "r.azurecr.us", "r.azurecr.cn"),
    "GitHubAppToken": ("ghcr.io", "containers.octo-corp.ghe.com", "containers.github.example.com"),
}
FOREIGN = (
    "evil.example",
    "127.0.0.1:5000",
    "gcr.io.evil.example",
    "evil-gcr.io",
    "pkg.dev",
    "pkg.dev.evil.example",
    "evilpkg.dev",
    "azurecr.io",
    "evilazurecr.io",
    "r.azurecr.io.evil.example",
    "r.azurecr.com",
    "ecr.aws",
    "public.ecr.aws.evil.example",
    "evil.public.ecr.aws",
    "123456789012.dkr.ecr.eu-central-1.amazonaws.com.eu",
    "123456789012.dkr.ecr.eu-central-1.evil.amazonaws.com",
    "123456789012.dkr.ecr.evil.example",
    "evil.s3.amazonaws.com",
    "12345.dkr.ecr.eu-central-1.amazonaws.com",
    "x.lambda-url.eu-west-1.on.aws",
    "myregistry.azurecr.io:8443",
    "gcr.io:5000",
    "ghcr.io.evil.example",
    "ghcr.io:8443",
)


def parsed(host: str, type_: str = "GAR", **spec: object) -> Registry:
    found = parse_resource(
        {
            "apiVersion": "pullgate.dev/v1alpha1",
            "kind": "Registry",
            "metadata": {"name": "up", "namespace": "my-app", "uid": "1"},
            "spec": {"type": type_, "host": host, "credentials": {"workloadIdentity": {"gcp": {}}}, **spec},
        }
    )
    assert isinstance(found, Registry)
    return found


@pytest.mark.parametrize("kind", sorted(DESTINATIONS))
def test_a_token_goes_to_hosts_of_its_own_service_alone(kind: str) -> None:
    assert [host for host in OWN[kind] if not may_show(kind, host, plain_http=False)] == []
    others = [host for other, hosts in OWN.items() if other != kind for host in hosts]
    assert [host for host in (*FOREIGN, *others) if may_show(kind, host, plain_http=False)] == []


@pytest.mark.parametrize("kind", sorted(DESTINATIONS))
def test_a_token_goes_nowhere_without_tls(kind: str) -> None:
    assert [host for host in OWN[kind] if may_show(kind, host, plain_http=True)] == []


def test_a_token_of_an_unknown_kind_goes_nowhere() -> None:
    assert not may_show("NewToken", "gcr.io", plain_http=False)
    assert not may_show("", "gcr.io", plain_http=False)


@pytest.mark.parametrize("realm", ["https://tokens.example/t", "https://auth.gcr.io/t", "http://gcr.io/v2/token"])
def test_no_field_of_a_registry_makes_another_host_the_token_server_of_an_issued_token(realm: str) -> None:
    config = UpstreamConfig(
        "my-app/up",
        "gcr.io",
        "gcr.io",
        realm_hosts=frozenset({"tokens.example", "auth.gcr.io", "gcr.io"}),
        plain_http=True,
        allow_private=True,
    )
    assert Guard(config).realm(realm)
    issued = Guard(dataclasses.replace(config, issued=True))
    with pytest.raises(faults.RealmRefused):
        issued.realm(realm)
    assert issued.realm("https://gcr.io/v2/token")


HANDED = Handoff(
    "my-app", "up", "1", 1, Credentials("oauth2accesstoken", "ya29.CANARY"), None, "GoogleAccessToken", "f"
)


def put(snapshot: Snapshot, resource: Registry) -> RegistryFacts:
    facts = registry_facts(resource)
    snapshot.put_registry(RegistryEntry(facts, upstream_config(resource, ()), "", registry_hosts(resource), "1"))
    return facts


@pytest.mark.parametrize(
    "changed",
    [
        parsed("evil.example"),
        parsed("evil.example", "Generic"),
        parsed("gcr.io", tls={"plainHTTP": True}),
        parsed("123456789012.dkr.ecr.eu-central-1.amazonaws.com", "ECR"),
    ],
)
async def test_a_proxy_shows_no_token_to_a_registry_that_was_changed_before_the_operator_saw_it(
    changed: Registry,
) -> None:
    snapshot = Snapshot()
    upstreams = Upstreams(snapshot, ProxySettings(), Shares("bodies"))
    facts = put(snapshot, parsed("gcr.io"))
    snapshot.put_handoff(("my-app", "up"), HANDED)
    try:
        assert upstreams.get(facts).config.issued
        facts = put(snapshot, changed)
        with pytest.raises(faults.CredentialsMissing):
            upstreams.get(facts)
        facts = put(snapshot, parsed("eu.gcr.io"))
        assert upstreams.get(facts).config.credentials == HANDED.credentials
    finally:
        await upstreams.close()


async def test_a_proxy_shows_a_token_to_the_very_host_that_it_was_handed_over_for() -> None:
    """Any host may be named containers.…: for an Enterprise Server only the operator knows the Secret's apiURL."""
    snapshot = Snapshot()
    upstreams = Upstreams(snapshot, ProxySettings(), Shares("bodies"))
    own, foreign = "containers.github.example.com", "containers.evil.example"
    handed = dataclasses.replace(HANDED, kind="GitHubAppToken", refreshed_at=datetime.now(UTC), host=own)
    snapshot.put_handoff(("my-app", "up"), decode_handoff(encode_handoff(handed)))
    try:
        assert upstreams.get(put(snapshot, parsed(own, "GHCR"))).config.credentials == HANDED.credentials
        with pytest.raises(faults.CredentialsMissing):
            upstreams.get(put(snapshot, parsed(foreign, "GHCR")))
    finally:
        await upstreams.close()
