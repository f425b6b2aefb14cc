"""The resources of a hostile app. Pure."""

from __future__ import annotations

from typing import Any

from tests.support.gate import API_VERSION, Document, license_, registry

EVE = "eve"
"""A License of all."""
SLOW_LICENSES = ("mallory", "trudy")
"""Licenses of all, whose GETs never end: Eve's requests are not refused for them."""
RULED = "ruled"
"""A License under a tag rule."""
REGISTRIES, TESTS = 30, 10
"""For each hostile app; two have 60 Registries at an interval of a second, and 20 ImageTests that drip."""
CLAIMER, RESERVED = "claimer", "reserved"
"""Registries that claim the domains of others, and those that nobody may have."""
RESERVED_DOMAINS = ("kubernetes.default.svc", "registry.default.svc.cluster.local", "images.localhost")
CLOUDS: dict[str, Document] = {
    "GAR": {"gcp": {}},
    "ECR": {"aws": {"roleARN": "arn:aws:iam::123456789012:role/puller"}},
    "ACR": {"azure": {"tenantID": "tenant", "clientID": "client"}},
}
OWN, ACCOUNT = "own", "account"
"""The identity that a Registry of a cloud asks for: the operator's, or that of a ServiceAccount."""
PROVIDER = "projects/1/locations/global/workloadIdentityPools/p/providers/p"
PRIVATE_HOSTS = {
    "pod-net": "10.0.0.7:8081",
    "service": "10.96.0.1:443",
    "link-local": "169.254.169.254",
    "in-cluster": "kubernetes.default.svc",
}


def build_registry(namespace: str, name: str, host: str, **spec: Any) -> Document:
    """One of several Registries of one host: without repositories of its own it would be a HostConflict."""
    return registry(name, host, namespace=namespace, **{"repositories": [f"{name}/**"], **spec})


def build_basis(namespace: str, host: str) -> list[Document]:
    """The documents that its clients need: Registries at `host`, and Licenses."""
    return [
        build_registry(namespace, "up", host, network={"allowPrivate": True}, repositories=["**"]),
        build_registry(namespace, "slow", host),
        *(license_(name, namespace=namespace) for name in (EVE, *SLOW_LICENSES)),
        license_(RULED, {"repositories": ["**"], "tags": {"semver": ">=1.10 <1.169000"}}, namespace=namespace),
    ]


def build_burden(namespace: str, host: str, stuck: str, trap: str) -> list[Document]:
    """Documents that burden the operator and all proxies. A server at `stuck` hangs, one at `trap` waits for tokens."""
    private = [
        registry(name, address, namespace=namespace, plain_http=name != "service", network={"allowPrivate": True})
        for name, address in PRIVATE_HOSTS.items()
    ]
    checked = [
        build_registry(namespace, f"stuck-{number}", stuck, check={"interval": "1s"}) for number in range(REGISTRIES)
    ]
    clouds = [build_cloud(namespace, type_, whose, trap) for type_ in CLOUDS for whose in (OWN, ACCOUNT)]
    tests = [build_test(namespace, f"drip-{number}", f"{host}/drip/api:{number}") for number in range(TESTS)]
    return [*private, *checked, *clouds, *tests, build_large_license(namespace, 0)]


def build_cloud(namespace: str, type_: str, whose: str, host: str) -> Document:
    """A Registry that asks for a cloud's token and sends it to `host`, over plain HTTP."""
    identity: Document = {**CLOUDS[type_]}
    if whose == ACCOUNT:
        identity["serviceAccountName"] = "default"
        if type_ == "GAR":
            identity["gcp"] = {"provider": PROVIDER}
    document = build_registry(namespace, f"{type_.lower()}-{whose}", host)
    document["spec"] |= {"type": type_, "credentials": {"workloadIdentity": identity}}
    return document


def build_large_license(namespace: str, turn: int) -> Document:
    """A License with as many patterns as there may be, others at each turn."""
    patterns = [f"{turn}-{number}-" + "*a?" * 70 + "*z" for number in range(256)]
    entitlements = [{"repositories": patterns[start : start + 64]} for start in range(0, len(patterns), 64)]
    return license_("large", *entitlements, namespace=namespace)


def build_test(namespace: str, name: str, image: str) -> Document:
    """An ImageTest that may take an hour."""
    spec: dict[str, Any] = {"images": [image], "timeout": "1h", "retries": 10}
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": API_VERSION, "kind": "ImageTest", "metadata": metadata, "spec": spec}
