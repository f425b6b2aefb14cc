"""A path leads to the Registry that is meant, or to none; never to another app's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pullgate.policy.facts import RegistryFacts
from pullgate.policy.glob import Globs
from pullgate.policy.route import Route, closest_registry, find_route

ALL = Globs(("**",))
QUAY = RegistryFacts("my-app", "quay", "Quay", "quay.io", ALL, domains=("images.myapp.com",))
HUB = RegistryFacts("my-app", "hub", "DockerHub", "docker.io", ALL)
LOCAL = RegistryFacts("my-app", "local", "Generic", "localhost:5000", ALL)
THEIRS = RegistryFacts("other", "quay", "Quay", "quay.io", ALL, domains=("images.other.com",))
REST = RegistryFacts("my-app", "ghcr", "GHCR", "ghcr.example", Globs(("**",)))
ONE = RegistryFacts("my-app", "one", "GHCR", "ghcr.example", Globs(("one/**", "shared/*", "two/api")))
TWO = RegistryFacts("my-app", "two", "GHCR", "ghcr.example", Globs(("two/**", "shared/**", "two/api*")))
NGINX = RegistryFacts("my-app", "nginx", "DockerHub", "docker.io", Globs(("library/nginx",)))
REGISTRIES = (QUAY, HUB, LOCAL, THEIRS, REST, ONE, TWO, NGINX)


class Directory:
    """A plain RegistryDirectory."""

    def registry_named(self, namespace: str, name: str) -> RegistryFacts | None:
        return next((r for r in REGISTRIES if (r.namespace, r.name) == (namespace, name)), None)

    def registries_for_host(self, namespace: str, host: str) -> list[RegistryFacts]:
        host = "docker.io" if host in {"index.docker.io", "registry-1.docker.io"} else host
        return [r for r in REGISTRIES if (r.namespace, r.host) == (namespace, host)]

    def registry_for_domain(self, domain: str) -> RegistryFacts | None:
        return next((r for r in REGISTRIES if domain in r.domains), None)


def route(path: str, host: str = "images.example.com", ns: str | None = None, app: str = "my-app") -> Route | None:
    return find_route(Directory(), namespace_of_license=app, host=host, path_repository=path, ns=ns)


@pytest.mark.parametrize(
    ("path", "host", "ns", "registry", "repository"),
    [
        ("proxy/my-app/quay.io/my-org/api", "images.example.com", None, QUAY, "my-org/api"),
        ("proxy/my-app/quay/my-org/api", "images.example.com", None, QUAY, "my-org/api"),
        ("proxy/my-app/local/my-org/api", "images.example.com", None, LOCAL, "my-org/api"),
        ("proxy/my-app/docker.io/nginx", "images.example.com", None, NGINX, "library/nginx"),
        ("proxy/my-app/docker.io/redis", "images.example.com", None, HUB, "library/redis"),
        ("proxy/my-app/index.docker.io/my-org/api", "images.example.com", None, HUB, "my-org/api"),
        ("my-org/api", "images.myapp.com", None, QUAY, "my-org/api"),
        ("proxy/my-app/hub/my-org/api", "images.myapp.com", None, HUB, "my-org/api"),
        ("my-org/api", "images.example.com", "quay.io", QUAY, "my-org/api"),
        ("my-org/api", "10.0.0.1", "localhost:5000", LOCAL, "my-org/api"),
        # Another app's domain is to this license as any host is.
        ("my-org/api", "images.other.com", "quay.io", QUAY, "my-org/api"),
    ],
)
def test_each_form_of_a_path_leads_to_its_registry(
    path: str, host: str, ns: str | None, registry: RegistryFacts, repository: str
) -> None:
    found = route(path, host, ns)
    assert found is not None
    assert (found.registry, found.repository) == (registry, repository)
    assert path == found.prefix + path.removeprefix(found.prefix)


@pytest.mark.parametrize(
    ("path", "host", "ns"),
    [
        ("proxy/my-app/ghcr.io/my-org/api", "images.example.com", None),
        ("proxy/my-app/nowhere/my-org/api", "images.example.com", None),
        ("proxy/my-app/quay", "images.example.com", None),
        ("proxy/my-app", "images.example.com", None),
        ("proxy", "images.example.com", None),
        ("my-org/api", "images.example.com", None),
        ("my-org/api", "images.example.com", "ghcr.io"),
    ],
)
def test_what_is_not_there_leads_nowhere(path: str, host: str, ns: str | None) -> None:
    assert route(path, host, ns) is None


@pytest.mark.parametrize(
    ("path", "host"), [("proxy/other/quay/a", "x"), ("proxy/other/quay.io/a", "x"), ("a", "images.other.com")]
)
def test_a_license_reaches_no_registry_of_another_app(path: str, host: str) -> None:
    assert route(path, host) is None
    assert route(path, host, app="other") is not None


@pytest.mark.parametrize(
    ("repository", "registry"),
    [
        ("one/api", ONE),
        ("two/worker", TWO),
        ("three/api", REST),
        ("shared/api", ONE),  # shared/* and shared/** are as close; it is older
        ("shared/charts/api", TWO),
        ("two/api", ONE),  # an exact name is closer than a wildcard behind the same text
        ("two/api-2", TWO),
    ],
)
def test_of_several_registries_of_a_host_the_closest_pattern_decides(repository: str, registry: RegistryFacts) -> None:
    for found in (route(f"proxy/my-app/ghcr.example/{repository}"), route(repository, ns="ghcr.example")):
        assert found is not None
        assert (found.registry, found.repository) == (registry, repository)


def test_a_pull_that_names_the_registry_needs_no_choice() -> None:
    found = route("proxy/my-app/two/one/api")
    assert found is not None
    assert found.registry == TWO


def test_a_repository_that_no_registry_of_the_host_has_leads_to_the_oldest() -> None:
    assert closest_registry([ONE, TWO], "three/api") == ONE
    assert closest_registry([], "three/api") is None


@given(st.permutations([ONE, TWO, REST]), st.sampled_from(["one/a", "two/a", "two/api", "three/a"]))
def test_the_age_decides_only_between_patterns_that_are_as_close(order: list[RegistryFacts], repository: str) -> None:
    assert closest_registry(order, repository) == closest_registry([ONE, TWO, REST], repository)


SEGMENT = st.sampled_from(["proxy", "my-app", "other", "quay", "quay.io", "hub", "docker.io", "a", "b"])


@given(
    st.lists(SEGMENT, min_size=1, max_size=6),
    st.sampled_from(["images.myapp.com", "images.other.com", "x"]),
    st.none() | SEGMENT,
)
def test_whatever_is_asked_the_registry_is_the_licenses_own(path: list[str], host: str, ns: str | None) -> None:
    found = route("/".join(path), host, ns)
    if found is not None:
        assert found.registry.namespace == "my-app"
        assert "/".join(path).startswith(found.prefix)
        assert found.repository.endswith("/".join(path).removeprefix(found.prefix))
