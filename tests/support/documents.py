"""Resources that break one rule each, and what the API server must say: the API server and `parse_resource` agree."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

Document = dict[str, Any]


def registry(name: str = "quay", **spec: Any) -> Document:
    """A Registry; fields of `spec` replace those of a good one, None takes one out."""
    good = {"type": "Quay", "credentials": {"secretRef": {"name": "robot"}}}
    return _document("Registry", name, good, spec)


def license_(name: str = "acme", **spec: Any) -> Document:
    """A License."""
    return _document("License", name, {"entitlements": [{"repositories": ["my-org/**"]}]}, spec)


def image_test(name: str = "release", **spec: Any) -> Document:
    """An ImageTest."""
    return _document("ImageTest", name, {"images": ["quay.io/my-org/api:1"]}, spec)


def _document(kind: str, name: str, good: dict[str, Any], spec: dict[str, Any]) -> Document:
    merged = {field: value for field, value in {**copy.deepcopy(good), **spec}.items() if value is not None}
    return {"apiVersion": "pullgate.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": merged}


def _tags(tags: Document) -> Document:
    return license_(entitlements=[{"repositories": ["a/b"], "tags": tags}])


@dataclass(frozen=True)
class Broken:
    """A document that breaks a rule."""

    rule: str
    document: Document
    words: str
    """Words that the API server's answer contains."""


BROKEN = (
    Broken("a name without dots", registry("a.b"), "no dot"),
    Broken("a known type", registry(type="Docker"), "Unsupported value"),
    Broken("a type", registry(type=None), "Required value"),
    Broken("a host for the type", registry(type="ECR"), "type ECR needs a host"),
    Broken("a host without scheme", registry(host="https://quay.io"), "without a scheme"),
    Broken("a host without path", registry(host="quay.io/my-org"), "without a scheme and path"),
    Broken("credentials", registry(credentials=None), "Required value"),
    Broken("one way of credentials, not none", registry(credentials={}), "exactly one way"),
    Broken(
        "one way of credentials, not two",
        registry(credentials={"secretRef": {"name": "a"}, "anonymous": {}}),
        "exactly one way",
    ),
    Broken("one cloud", registry(credentials={"workloadIdentity": {}}), "exactly one cloud"),
    Broken("a domain without scheme", registry(domains=["https://a.example"]), "without scheme"),
    Broken("a domain with a dot", registry(domains=["images"]), "write a domain"),
    Broken("a domain, no address", registry(domains=["10.0.0.1"]), "write a domain"),
    Broken("a glob with ** alone", registry(repositories=["my-org**"]), "my-org/**"),
    Broken("a glob's characters", registry(repositories=["my org"]), "my-org/**"),
    Broken("some repository", registry(repositories=[]), "should have at least 1 items"),
    Broken("a known delivery", registry(delivery="Copy"), "Unsupported value"),
    Broken("a duration", registry(cache={"tagTTL": "half an hour"}), "write a duration"),
    Broken("a check not too often", registry(check={"interval": "10ms"}), "at least a second"),
    Broken("a connect time-out in bounds", registry(timeouts={"connect": "2m"}), "is not between 1s and 1m"),
    Broken("a first byte in bounds", registry(timeouts={"firstByte": "0s"}), "is not between 1s and 10m"),
    Broken("a realm host", registry(network={"realmHosts": ["https://auth.example"]}), "without a scheme"),
    Broken("a License's name", license_("a.b"), "no dot"),
    Broken("entitlements", license_(entitlements=None), "Required value"),
    Broken("repositories in an entitlement", license_(entitlements=[{}]), "Required value"),
    Broken("a glob of an entitlement", license_(entitlements=[{"repositories": ["a**"]}]), "my-org/**"),
    Broken("some tag rule", _tags({}), "names no tag"),
    Broken("a range of versions", _tags({"semver": "newest!"}), "'1.x'"),
    Broken("a glob of tags", _tags({"match": ["1.**"]}), "my-org/**"),
    Broken(
        "an end after the beginning",
        license_(notBefore="2027-01-01T00:00:00Z", expiresAt="2026-01-01T00:00:00Z"),
        "ends before it begins",
    ),
    Broken("a time", license_(expiresAt="tomorrow"), "date-time"),
    Broken("a rotation", license_(keys={"rotation": "0s"}), "at least a second"),
    Broken("the id of a key", license_(keys={"revoked": ["pgk_1"]}), "k1a2b3"),
    Broken("a positive limit", license_(limits={"pullsPerHour": 0}), "greater than or equal to 1"),
    Broken("a quantity", license_(limits={"bytesPerDay": "many"}), "should match"),
    Broken("a host of the pull Secret", license_(pullSecret={"hosts": ["http://a.example"]}), "without a scheme"),
    Broken("some image", image_test(images=None), "names no image"),
    Broken("a known depth", image_test(depth="All"), "Unsupported value"),
    Broken("a platform", image_test(platforms=["linux"]), "linux/amd64"),
    Broken("a customer's name without an escape", license_(customer={"name": "a\x1b[2Jb"}), "control or bidi"),
    Broken("a customer's name in its own order", license_(customer={"name": "a\u202eb"}), "control or bidi"),
    Broken("a reason without C1 controls", license_(suspended={"reason": "a\x9b31m"}), "control or bidi"),
    Broken("a reason in one line", license_(suspended={"reason": "a\nb"}), "control or bidi"),
    Broken("an image without an escape", image_test(images=["a\x1bb"]), "control or bidi"),
    Broken("an image of a check without an escape", registry(check={"image": "a\u2066b"}), "control or bidi"),
    Broken("not too many retries", image_test(retries=11), "less than or equal to 10"),
)

TAKEN = (
    registry(),
    registry(type="Generic", host="registry.example.com:5000", credentials={"anonymous": {}}),
    registry(host="[::1]:5000", domains=["images.myapp.com"], repositories=["my-org/**", "**/api", "a?b*"]),
    registry(check={"interval": "1m30s"}, cache={"tagTTL": "0s"}, tls={"caSecretRef": {"name": "ca"}}),
    registry(check={"interval": "1500ms"}),
    registry(timeouts={"connect": "1500ms", "firstByte": "1m30s"}),
    license_(),
    license_(entitlements=[]),
    license_(
        customer={"name": "ACME Corp"},
        notBefore="2026-01-01T00:00:00Z",
        expiresAt="2027-01-01T00:00:00Z",
        suspended={},
        entitlements=[{"registry": "quay", "repositories": ["a/*"], "tags": {"match": ["1.*"], "semver": ">=1.4 <2"}}],
        limits={"pullsPerHour": 500, "bytesPerDay": "200Gi", "concurrentBlobs": 16},
        keys={"rotation": "90d", "overlap": "7d", "revoked": ["k1a2b3"]},
        pullSecret={"hosts": ["images.myapp.com"]},
    ),
    license_(limits={"bytesPerDay": 500}),
    license_(
        customer={"name": 'ärger "x" 請求書 می\u200cخواهم 👩\u200d🚀'}, suspended={"reason": "Größe: 77 – «offen»"}
    ),
    image_test(platforms=["linux/amd64", "linux/arm/v7"], schedule="*/30 * * * *", timeout="2m"),
    image_test(images=None, imagesFrom={"configMapKeyRef": {"name": "rendered", "key": "all.yaml"}}),
)
