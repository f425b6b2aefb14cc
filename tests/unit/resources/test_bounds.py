"""A resource holds a bounded number of things, by the CRD on a cluster and by the model everywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pullgate.resources import InvalidResource, parse_resource
from pullgate.resources.license import PATTERNS_LIMIT
from pullgate.resources.parse import ERROR_LIMIT


def license_(*entitlements: Any, **spec: Any) -> dict[str, Any]:
    metadata = {"name": "acme", "namespace": "my-app"}
    body = {"entitlements": list(entitlements), **spec}
    return {"apiVersion": "pullgate.dev/v1alpha1", "kind": "License", "metadata": metadata, "spec": body}


def other(kind: str, **spec: Any) -> dict[str, Any]:
    return {**license_(), "kind": kind, "spec": spec}


def registry(**spec: Any) -> dict[str, Any]:
    return other("Registry", type="Quay", credentials={"anonymous": {}}, **spec)


def names(count: int) -> list[str]:
    return [f"name-{number}" for number in range(count)]


def domains(count: int) -> list[str]:
    return [f"n{number}.example.com" for number in range(count)]


BOUNDS: dict[str, tuple[int, Callable[[int], dict[str, Any]]]] = {
    "entitlements": (64, lambda n: license_(*[{"repositories": ["a"]}] * n)),
    "repositories": (64, lambda n: license_({"repositories": names(n)})),
    "tags.match": (64, lambda n: license_({"repositories": ["a"], "tags": {"match": names(n)}})),
    "hosts": (64, lambda n: license_(pullSecret={"hosts": domains(n)})),
    "domains": (64, lambda n: registry(domains=domains(n))),
    "a Registry's repositories": (256, lambda n: registry(repositories=names(n))),
    "realmHosts": (16, lambda n: registry(network={"realmHosts": domains(n)})),
    "images": (1000, lambda n: other("ImageTest", images=names(n))),
}


@pytest.mark.parametrize("what", BOUNDS)
def test_a_list_of_a_resource_has_a_bound(what: str) -> None:
    bound, build = BOUNDS[what]
    parse_resource(build(bound))
    with pytest.raises(InvalidResource, match=f"more than {bound} entries"):
        parse_resource(build(bound + 1))


def test_patterns_with_wildcards_have_a_bound_together_and_plain_names_have_none() -> None:
    wild = [{"repositories": [f"{n}-{m}-{'x' * 90}*" for m in range(64)]} for n in range(20)]
    plain = [{"repositories": [f"{n}-{m}-{'x' * 90}" for m in range(64)]} for n in range(20)]
    parse_resource(license_(*plain))
    parse_resource(license_(*wild[:8]))
    with pytest.raises(InvalidResource, match=f"{PATTERNS_LIMIT} characters of patterns"):
        parse_resource(license_(*wild))


def test_of_many_mistakes_the_first_are_explained_and_the_others_counted() -> None:
    wrong = [{"repositories": ["a", *["**b"] * 60]} for _ in range(10)]
    with pytest.raises(InvalidResource) as raised:
        parse_resource(license_(*wrong))
    assert len(raised.value.errors) == ERROR_LIMIT + 1
    assert "550 more mistakes are not shown" in str(raised.value)
    with pytest.raises(InvalidResource) as raised:
        parse_resource(license_(*range(500_000)))
    assert len(raised.value.errors) <= ERROR_LIMIT + 1
