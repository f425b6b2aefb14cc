"""Every type has its guide, its hints, its page and its example, and these are not stale."""

from __future__ import annotations

import pytest

from pullgate.faults import FAULTS, MESSAGE_LIMIT, fault_in_words, plain_text
from pullgate.providers.credentials import Credentials
from pullgate.providers.exchange import CredentialsInvalid, fingerprint
from pullgate.providers.guide import UNFILLED, fill, render_guide, render_identity_yaml
from pullgate.providers.hints import hint
from pullgate.providers.provider import Subject
from pullgate.providers.resolve import BASIC_AUTH, resolve_credentials, resolve_identity
from pullgate.providers.types import GUIDES, PROVIDERS
from pullgate.resources import Registry, Secret, parse_resource
from pullgate.resources.registry_type import REGISTRY_TYPES
from pullgate.store.documents import read_documents
from tests.support.guide_pages import EXAMPLES, pages, values_of

VENDORS = (
    "UpstreamUnauthorized",
    "UpstreamForbidden",
    "RepositoryUnknown",
    "ManifestUnknown",
    "UpstreamRateLimited",
    "CredentialsMissing",
    "UpstreamUnreachable",
    "UpstreamTLS",
    "RealmRefused",
)


def test_every_type_has_a_guide() -> None:
    assert set(GUIDES) == set(REGISTRY_TYPES) == set(PROVIDERS)


@pytest.mark.parametrize("path", pages(), ids=lambda path: f"{path.parent.parent.name}-{path.name}")
def test_a_page_is_what_the_guides_say(path: object) -> None:
    from pathlib import Path

    assert isinstance(path, Path)
    assert path.read_text() == pages()[path], "run `make docs`"


@pytest.mark.parametrize("name", GUIDES)
def test_a_guide_is_filled_in_and_the_rest_stands_out(name: str) -> None:
    text = render_guide(GUIDES[name], values_of(GUIDES[name]))
    assert not UNFILLED.search(text)
    assert "pullgate registry test" in text


@pytest.mark.parametrize("name", GUIDES)
def test_an_example_is_taken_with_the_credentials_of_its_type(name: str) -> None:
    content = read_documents((EXAMPLES / f"{name}.yaml").read_text(), name)
    assert not content.problems
    resources = [parse_resource(found.document) for found in content.documents.values()]
    registry = next(resource for resource in resources if isinstance(resource, Registry))
    assert registry.spec.type == name
    for secret in (resource for resource in resources if isinstance(resource, Secret)):
        data = dict.fromkeys(secret.all_data(), b"some-value")
        found = resolve_credentials(name, secret.type, data, registry.spec.host)
        assert found.password if isinstance(found, Credentials) else fingerprint(found)


@pytest.mark.parametrize("name", [name for name, guide in GUIDES.items() if guide.identity is not None])
def test_a_workload_identity_is_taken_as_the_page_writes_it(name: str) -> None:
    guide = GUIDES[name]
    assert guide.identity is not None
    values = {**values_of(guide), "account": "123456789012", "project": "my-project", "number": "1", "pool": "pool"}
    content = read_documents(fill(render_identity_yaml(guide, guide.identity), values), name)
    assert not content.problems
    found = [each.document for each in content.documents.values() if each.document["kind"] == "Registry"]
    registry = parse_resource(found[0])
    assert isinstance(registry, Registry)
    identity = registry.spec.credentials.workload_identity
    assert identity is not None
    assert fingerprint(resolve_identity(name, identity, Subject("my-app", "any", registry.spec.host)))


def test_every_type_of_a_cloud_has_an_identity() -> None:
    assert {name for name, p in PROVIDERS.items() if p.identity} == {n for n, g in GUIDES.items() if g.identity}


@pytest.mark.parametrize("name", GUIDES)
@pytest.mark.parametrize("reason", FAULTS)
def test_a_hint_is_plain_text_that_fits(name: str, reason: str) -> None:
    text = hint(name, fault_in_words(reason, "x"), username="my-org+puller", repository="my-org/api")
    assert text == plain_text(text)
    assert len(text) <= MESSAGE_LIMIT
    assert "{" not in text
    assert text or reason not in VENDORS


def test_a_hint_speaks_of_the_provider() -> None:
    refused = fault_in_words("UpstreamForbidden", "x")
    assert "my-org+puller" in hint("Quay", refused, username="my-org+puller", repository="my-org/api")
    assert "SSO" in hint("GHCR", refused, repository="my-org/api")
    assert "AcrPull" in hint("ACR", refused)


def test_a_secret_of_no_use_is_told_by_type() -> None:
    with pytest.raises(CredentialsInvalid, match="username"):
        resolve_credentials("Quay", BASIC_AUTH, {"password": b"x"}, "quay.io")
