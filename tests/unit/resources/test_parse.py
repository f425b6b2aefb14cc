"""A document becomes a resource, or each of its mistakes is named with its field and its fix."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pullgate.resources import ImageTest, InvalidResource, License, Registry, Secret, parse_resource
from pullgate.resources.compile import license_facts, registry_facts, registry_hosts

REGISTRY: dict[str, Any] = {
    "apiVersion": "pullgate.dev/v1alpha1",
    "kind": "Registry",
    "metadata": {"name": "quay", "namespace": "my-app"},
    "spec": {
        "type": "Quay",
        "credentials": {"secretRef": {"name": "quay-robot"}},
        "domains": ["Images.MyApp.com"],
        "repositories": ["my-org/**"],
        "cache": {"tagTTL": "30s", "staleIfError": "24h", "blobs": True, "prefetch": False},
        "tls": {"caSecretRef": {"name": "ca", "key": "ca.crt"}, "plainHTTP": False},
        "check": {"interval": "5m", "image": "my-org/api:latest"},
        "network": {"realmHosts": ["auth.example.com"], "allowPrivate": True},
    },
}
LICENSE: dict[str, Any] = {
    "apiVersion": "pullgate.dev/v1alpha1",
    "kind": "License",
    "metadata": {"name": "acme", "namespace": "my-app"},
    "spec": {
        "customer": {"name": "ACME Corp", "email": "ops@acme.example", "id": "C-1042"},
        "notBefore": "2026-01-01T00:00:00Z",
        "expiresAt": "2027-01-01T00:00:00+02:00",
        "entitlements": [
            {"registry": "quay", "repositories": ["my-org/api", "charts/**"], "tags": {"match": ["1.*", "stable"]}},
            {"repositories": ["tools/*"], "tags": {"semver": ">=1.4 <2"}},
        ],
        "limits": {"pullsPerHour": 500, "bytesPerDay": "200Gi", "concurrentBlobs": 16},
        "keys": {"rotation": "90d", "overlap": "1h30m"},
        "pullSecret": {"hosts": ["images.myapp.com"]},
    },
}


def changed(document: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """`document` with the field at `path` (dots) set, or removed for None."""
    result = copy.deepcopy(document)
    *parents, last = path.split(".")
    part: Any = result
    for name in parents:
        part = part[int(name)] if name.isdigit() else part.setdefault(name, {})
    if value is None:
        del part[last]
    else:
        part[last] = value
    return result


def complaints(document: dict[str, Any]) -> list[str]:
    """The errors of an invalid document."""
    with pytest.raises(InvalidResource) as caught:
        parse_resource(document)
    return [str(error) for error in caught.value.errors]


def test_the_registry_of_the_reference_is_read() -> None:
    resource = parse_resource(REGISTRY)
    assert isinstance(resource, Registry)
    assert resource.spec.host == "quay.io"
    assert resource.spec.domains == ("images.myapp.com",)
    assert resource.spec.cache.stale_if_error == timedelta(days=1)
    assert resource.spec.network.realm_hosts == ("auth.example.com",)


def test_the_license_of_the_reference_is_read() -> None:
    resource = parse_resource(LICENSE)
    assert isinstance(resource, License)
    assert resource.spec.expires_at == datetime(2026, 12, 31, 22, tzinfo=UTC)
    assert resource.spec.limits.bytes_per_day == 200 * 1024**3
    assert resource.spec.keys.overlap == timedelta(minutes=90)


def test_an_image_test_and_a_secret_are_read() -> None:
    image_test = {
        "apiVersion": "pullgate.dev/v1alpha1",
        "kind": "ImageTest",
        "metadata": {"name": "release-1.4.0"},
        "spec": {"images": ["quay.io/my-org/api:1"], "as": {"licenseRef": {"name": "acme"}}, "depth": "Blobs"},
    }
    parsed = parse_resource(image_test)
    assert isinstance(parsed, ImageTest)
    assert parsed.metadata.namespace == "default"
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"a": "b"}}
    parsed_secret = parse_resource(secret)
    assert isinstance(parsed_secret, Secret)
    assert parsed_secret.all_data() == {"a": "Yg=="}


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("spec.expiresAt", "x", "spec.expiresAt: 'x' is not a time; write it like 2027-01-01T00:00:00Z"),
        ("spec.expiresAt", "2027-13-01T00:00:00Z", "spec.expiresAt: '2027-13-01T00:00:00Z' is not a time"),
        ("spec.expiresAt", "2027-01-01T00:00:00", "is not a time"),
        ("spec.expiresAt", "2025-01-01T00:00:00Z", "spec: ends before it begins; make expiresAt later than notBefore"),
        ("spec.entitlements", None, "spec.entitlements: is missing; add entitlements"),
        ("spec.entitlement", [], "spec.entitlement: is not a field; did you mean entitlements?"),
        ("spec.entitlements.0.registri", "a", "spec.entitlements[0].registri: is not a field; did you mean registry?"),
        ("spec.entitlements.0.repositories", [], "spec.entitlements[0].repositories: is empty"),
        ("spec.entitlements.0.repositories", ["a**"], "spec.entitlements[0].repositories[0]: 'a**': ** stands alone"),
        ("spec.entitlements.0.repositories", "a", "spec.entitlements[0].repositories: 'a' is not a list"),
        ("spec.entitlements.0.tags", {}, "spec.entitlements[0].tags: names no tag; give match"),
        ("spec.entitlements.1.tags.semver", "one", "spec.entitlements[1].tags.semver: 'one': not a version range"),
        (
            "spec.entitlements.1.tags.semver",
            ">=1.4.0+up2",
            "spec.entitlements[1].tags.semver: '>=1.4.0+up2': build metadata is not compared; leave out the +",
        ),
        ("spec.keys.rotation", "90 days", "spec.keys.rotation: '90 days' is not a duration; write it like 90d"),
        ("spec.keys.rotation", "0s", "spec.keys.rotation: is shorter than a second"),
        ("spec.limits.bytesPerDay", "lots", "spec.limits.bytesPerDay: 'lots' is not a quantity"),
        ("spec.limits.pullsPerHour", 0, "spec.limits.pullsPerHour: 0 is out of range"),
        ("spec.suspended", True, "spec.suspended: true is not a mapping"),
        ("spec.pullSecret.hosts", ["https://a.example"], "'https://a.example' is not a host; write host or host:port"),
        ("metadata.name", "acme.corp", "metadata.name: 'acme.corp' is not a DNS label"),
        ("metadata.name", "acme\n", "is not a DNS label"),
        ("metadata.namespace", "../up", "metadata.namespace: '../up' is not a DNS label"),
        ("apiVersion", "pullgate.dev/v1", "apiVersion: 'pullgate.dev/v1' is not known for License"),
        ("kind", "Licence", "kind: 'Licence' is not known; did you mean License?"),
        ("kind", None, "kind: is missing"),
    ],
)
def test_a_mistake_in_a_license_is_named_with_field_and_fix(path: str, value: object, said: str) -> None:
    found = complaints(changed(LICENSE, path, value))
    assert any(said in words for words in found), found


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("spec.type", "Kuay", "spec.type: 'Kuay' is not one of them; one of DockerHub, ECR"),
        ("spec.type", "Harbor", "spec: type Harbor needs a host; add host: harbor.example.com"),
        ("spec.host", "quay.io/my-org", "spec.host: 'quay.io/my-org' is not a host"),
        ("spec.host", "quay.io:99999", "is not a host"),
        ("spec.host", "quay.io\n", "is not a host"),
        ("spec.credentials", {}, "spec.credentials: needs exactly one way, none is given; keep one of secretRef"),
        ("spec.credentials.anonymous", {}, "spec.credentials: needs exactly one way, 2 are given"),
        ("spec.credentials.workloadIdentity", {}, "spec.credentials.workloadIdentity: needs exactly one cloud"),
        ("spec.domains", ["images"], "spec.domains[0]: 'images' is not a domain"),
        ("spec.domains", ["10.0.0.1"], "is not a domain"),
        ("spec.check.interval", "10ms", "spec.check.interval: is shorter than a second"),
        ("spec.timeouts", {"connect": "61s"}, "spec.timeouts.connect: is not between 1s and 1m; write it like 5s"),
        ("spec.timeouts", {"firstByte": "11m"}, "spec.timeouts.firstByte: is not between 1s and 10m"),
        ("spec.tls.plainHttp", True, "spec.tls.plainHttp: is not a field; did you mean plainHTTP?"),
        ("spec.tls.plainHTTP", "maybe", "spec.tls.plainHTTP: 'maybe' is not true or false"),
        ("spec.repositories", [], "spec.repositories: is empty"),
    ],
)
def test_a_mistake_in_a_registry_is_named_with_field_and_fix(path: str, value: object, said: str) -> None:
    found = complaints(changed(REGISTRY, path, value))
    assert any(said in words for words in found), found


def test_no_word_about_a_secret_holds_any_of_its_content() -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "robot"},
        "data": {"password": "hunter2!"},
        "stringData": {"token": ["hunter2"]},
        "type": 7,
    }
    with pytest.raises(InvalidResource) as caught:
        parse_resource(secret)
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(caught.value.errors)
    good = parse_resource({**secret, "data": {}, "type": "Opaque", "stringData": {"token": "hunter2"}})
    assert "hunter2" not in repr(good)


@pytest.mark.parametrize(
    ("type_", "host", "hosts"),
    [
        ("DockerHub", None, ("docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com")),
        (
            "Generic",
            "registry-1.docker.io",
            ("docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"),
        ),
        ("GHCR", None, ("ghcr.io",)),
        ("Generic", "Registry.Example:5000", ("registry.example:5000",)),
    ],
)
def test_an_upstream_is_found_by_every_name_it_has(type_: str, host: str | None, hosts: tuple[str, ...]) -> None:
    document = changed(REGISTRY, "spec.type", type_)
    resource = parse_resource(changed(document, "spec.host", host) if host else document)
    assert isinstance(resource, Registry)
    assert registry_hosts(resource) == hosts
    assert registry_facts(resource).host == hosts[0]


def test_facts_say_what_the_license_says() -> None:
    resource = parse_resource(changed(LICENSE, "spec.suspended", {}))
    assert isinstance(resource, License)
    facts = license_facts(resource)
    assert facts.suspended == ""
    assert facts.entitlements[0].registry == "quay"
    assert facts.entitlements[0].tags is not None
    assert facts.entitlements[0].tags.allows("1.2")
    assert facts.entitlements[1].registry is None
    assert license_facts(resource).entitlements[0] is facts.entitlements[0]
