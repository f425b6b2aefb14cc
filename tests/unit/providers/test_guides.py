"""Every type has its guide, its hints, its page and its example, and these are not stale."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from pullgate.faults import FAULTS, MESSAGE_LIMIT, fault_in_words, plain_text
from pullgate.providers.credentials import Credentials
from pullgate.providers.exchange import REASONS, CredentialsInvalid, fingerprint
from pullgate.providers.guide import IDENTITY_HEADING, UNFILLED, fill, render_guide, render_identity_yaml
from pullgate.providers.handoff import SYSTEM_NAMESPACE
from pullgate.providers.hints import hint
from pullgate.providers.provider import Subject
from pullgate.providers.resolve import BASIC_AUTH, resolve_credentials, resolve_identity
from pullgate.providers.types import GUIDES, PROVIDERS
from pullgate.resources import Registry, Secret, parse_resource
from pullgate.resources.registry_type import REGISTRY_TYPES
from pullgate.store.documents import read_documents
from tests.support.guide_pages import DOCS, EXAMPLES, pages, values_of

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


IDENTITIES = [name for name, guide in GUIDES.items() if guide.identity is not None]
"""Types that know a workload identity."""


@pytest.mark.parametrize("name", IDENTITIES)
def test_a_guide_shows_the_workload_identity_that_its_texts_speak_of(name: str) -> None:
    guide = GUIDES[name]
    assert guide.identity is not None
    text = render_guide(guide, values_of(guide))
    _, _, section = text.partition(f"## {IDENTITY_HEADING}")
    section = section.partition("\n## ")[0]
    for part in (*guide.identity.steps, *guide.identity.trust.values(), render_identity_yaml(guide, guide.identity)):
        assert fill(part, values_of(guide)) in section
    assert section in (DOCS / f"{name}.md").read_text()


@pytest.mark.parametrize("name", [name for name in GUIDES if name not in IDENTITIES])
def test_a_guide_without_an_identity_speaks_of_none(name: str) -> None:
    assert "workload identity" not in render_guide(GUIDES[name], values_of(GUIDES[name]))


@pytest.mark.parametrize("name", IDENTITIES)
def test_an_example_of_an_identity_is_taken_and_lets_the_operator_ask_for_one_account_alone(name: str) -> None:
    text = (EXAMPLES / f"{name}-identity.yaml").read_text()
    assert not read_documents(text, name).problems
    by_kind = {document["kind"]: document for document in yaml.safe_load_all(text)}
    assert set(by_kind) == {"ServiceAccount", "Role", "RoleBinding", "Registry"}
    registry = parse_resource(by_kind["Registry"])
    assert isinstance(registry, Registry)
    identity = registry.spec.credentials.workload_identity
    assert identity is not None
    assert fingerprint(resolve_identity(name, identity, Subject("my-app", "any", registry.spec.host)))
    account = by_kind["ServiceAccount"]["metadata"]["name"]
    assert identity.service_account_name == account
    (rule,) = by_kind["Role"]["rules"]
    tokens = {
        "apiGroups": [""],
        "resources": ["serviceaccounts/token"],
        "resourceNames": [account],
        "verbs": ["create"],
    }
    assert rule == tokens
    (subject,) = by_kind["RoleBinding"]["subjects"]
    assert (subject["name"], subject["namespace"]) == ("pullgate-operator", SYSTEM_NAMESPACE)
    assert {document["metadata"]["namespace"] for document in by_kind.values()} == {"my-app"}


TOOLS = {
    "DockerHub": "curl",
    "ECR": "aws",
    "ECRPublic": "aws",
    "GAR": "gcloud",
    "GCR": "gcloud",
    "GHCR": "gh",
    "Quay": "curl",
    "ACR": "az",
    "Harbor": "curl",
    "GitLab": "curl",
    "Artifactory": "curl",
    "Nexus": "curl",
    "DigitalOcean": "doctl",
}
"""The provider's own command line, or its API where it has none; a Generic registry has neither."""


@pytest.mark.parametrize("name", TOOLS)
def test_a_guide_gives_commands(name: str) -> None:
    assert {*TOOLS, "Generic"} == set(GUIDES)
    assert re.search(rf"(^|[ (=]){TOOLS[name]} ", "\n".join(GUIDES[name].commands), re.M)
    text = render_guide(GUIDES[name], values_of(GUIDES[name]))
    for command in GUIDES[name].commands:
        assert fill(command, values_of(GUIDES[name])) in text


@pytest.mark.parametrize("name", GUIDES)
def test_what_is_to_be_pasted_as_json_is_json(name: str) -> None:
    guide = GUIDES[name]
    trust = guide.identity.trust.values() if guide.identity is not None else ()
    texts = [guide.permission, *guide.policies.values(), *trust]
    texts += [found for command in guide.commands for found in re.findall(r"-d '([^']+)'", command)]
    found = [json.loads(text) for text in texts if text.lstrip().startswith("{")]
    assert found or name not in {"ECR", "ECRPublic", "Quay", "Harbor", "GitLab", "Artifactory", "Nexus"}


@pytest.mark.parametrize("name", GUIDES)
def test_an_error_of_a_guide_is_one_that_there_is(name: str) -> None:
    known = {*FAULTS, *REASONS, "HostConflict"}
    for trouble in GUIDES[name].troubles:
        assert set(re.findall(r"\b[A-Z][a-z]+[A-Z]\w+", trouble.seen)) & known, trouble.seen
    assert {"UpstreamUnauthorized", "UpstreamForbidden"} <= {t.seen.split(",")[0] for t in GUIDES[name].troubles}


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


@pytest.mark.parametrize("name", [name for name in GUIDES if name != "Generic"])
def test_a_type_has_hints_of_its_own(name: str) -> None:
    assert {"UpstreamUnauthorized", "UpstreamForbidden"} <= set(PROVIDERS[name].hints)


def test_a_token_that_was_issued_is_nothing_that_the_vendor_could_write_anew() -> None:
    refused = fault_in_words("UpstreamUnauthorized", "x")
    assert "new key" in hint("GAR", refused)
    assert "new key" not in hint("GAR", refused, was_issued=True)
    assert "check spec.host" in hint("GAR", refused, was_issued=True)


def test_a_hint_speaks_of_the_provider() -> None:
    refused = fault_in_words("UpstreamForbidden", "x")
    assert "my-org+puller" in hint("Quay", refused, username="my-org+puller", repository="my-org/api")
    assert "SSO" in hint("GHCR", refused, repository="my-org/api")
    assert "AcrPull" in hint("ACR", refused)


def test_a_secret_of_no_use_is_told_by_type() -> None:
    with pytest.raises(CredentialsInvalid, match="username"):
        resolve_credentials("Quay", BASIC_AUTH, {"password": b"x"}, "quay.io")


def lines_of(name: str) -> list[str]:
    return render_guide(GUIDES[name], values_of(GUIDES[name])).splitlines()


@pytest.mark.parametrize("name", GUIDES)
def test_a_guide_lists_each_error_once(name: str) -> None:
    seen = [line.split("|")[1].strip() for line in lines_of(name) if re.match(r"\| [A-Z]\w+[a-z][A-Z]", line)]
    assert len(seen) == len(set(seen))
    assert "UpstreamRateLimited" in " ".join(seen)


def test_docker_hubs_two_limits_have_two_texts() -> None:
    rows = [line for line in lines_of("DockerHub") if line.startswith("| UpstreamRateLimited")]
    assert len(rows) == 2
    assert "plan's pulls" in rows[0]
    assert "failed logins" in rows[1]


FACTS = [
    ("DigitalOcean", "doctl registry docker-config --expiry-seconds", "--read-only"),
    ("DigitalOcean", "doctl registries docker-config", ""),
    ("ECR", '"sts:TagSession"', ""),
    ("ECR", "pods.eks.amazonaws.com", ""),
    ("ECR", "ecr:BatchImportUpstreamImage", ""),
    ("ECR", "ecr:CreateRepository", ""),
    ("ECR", "ecr:ListImages", ""),
    ("GHCR", "Not for private packages", "without letting it read every private package"),
    ("GHCR", "containers.SUBDOMAIN.ghe.com", ""),
    ("GHCR", "https://api.SUBDOMAIN.ghe.com", ""),
    ("ACR", "Container Registry Repository Reader", ""),
    ("ACR", "REGION.geo.azurecr.io", ""),
    ("ACR", "their tokens go to no other name", "Pullgate sends the `service`"),
    ("Harbor", "expired or disabled", "List for tags"),
    ("Quay", "there is no such repository: Quay answers 401", "RepositoryUnknown"),
    ("Quay", "This namespace is disabled", ""),
    ("GitLab", "one registered domain", "not at the registry's: list it"),
    ("DockerHub", "registry.hub.docker.com", ""),
]
"""Type, a fact of its provider, and words of an older guide that contradicted it."""


@pytest.mark.parametrize(("name", "fact", "wrong"), FACTS, ids=[f"{row[0]}-{row[1][:30]}" for row in FACTS])
def test_a_guide_says_what_its_provider_does(name: str, fact: str, wrong: str) -> None:
    text = "\n".join(lines_of(name))
    assert fact in text
    assert not wrong or wrong not in text


def test_acrs_role_with_abac_stands_before_acrpull() -> None:
    text = "\n".join(lines_of("ACR"))
    assert text.index("Container Registry Repository Reader") < text.index("AcrPull")


PERMISSIONS = {
    "DockerHub": "Read-only access",
    "ECR": "ecr:BatchGetImage",
    "GAR": "Artifact Registry Reader",
    "GCR": "Artifact Registry Reader",
    "GHCR": "read:packages",
    "Quay": "read access",
    "ACR": "Container Registry Repository Reader",
    "Harbor": "Repository: Pull",
    "GitLab": "read_registry",
    "Artifactory": "Read on",
    "Nexus": "read and browse",
    "DigitalOcean": "registry: read",
    "Generic": "read access",
}
"""ECR Public has no permission to give: its images are for everybody."""


@pytest.mark.parametrize("name", PERMISSIONS)
def test_a_hint_names_the_permission_that_is_missing(name: str) -> None:
    assert {*PERMISSIONS, "ECRPublic"} == set(GUIDES)
    refused = fault_in_words("UpstreamForbidden", "x")
    text = hint(name, refused, username="robot$my-org+puller", repository="my-organization/some-repository/api")
    assert PERMISSIONS[name] in text
    assert "my-organization/some-repository/api" in text
    assert not text.endswith("...")


FURTHER = (
    "ocir.io",
    "icr.io",
    "scw.cloud",
    "aliyuncs.com",
    "myhuaweicloud.com",
    "tencentcloudcr.com",
    "registry.redhat.io",
    "cgr.dev",
    "dhi.io",
    "nvcr.io",
    "registry1.dso.mil",
    "Gitea, Forgejo",
    "docker.cloudsmith.io",
    "jfrog.io",
    "docker.elastic.co",
    "ghe.com",
)


@pytest.mark.parametrize("part", FURTHER)
def test_the_generic_guide_has_a_row_for_each_further_registry(part: str) -> None:
    (row,) = (line for line in lines_of("Generic") if line.startswith("|") and part in line)
    assert len(re.split(r"(?<!\\)\|", row)) == 8


def test_the_generic_guide_lists_the_realms_that_are_elsewhere() -> None:
    rows = [o for o in GUIDES["Generic"].others if o.realm_hosts]
    assert {(o.host, o.realm_hosts) for o in rows} == {
        ("rg.REGION.scw.cloud", "api.scaleway.com"),
        ("registry.REGION.aliyuncs.com", "dockerauth.REGION.aliyuncs.com"),
    }
