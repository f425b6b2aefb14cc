"""The client's path -> a Registry and its own repository. Pure.

Four forms: /proxy/<app>/<host>/…, /proxy/<app>/<registry name>/…, a custom domain at its root, and containerd's mirror
mode (`?ns=<host>`). A Registry's name has no dot and a host has one, so a segment is never ambiguous.

Several Registries of an app may have one host (two organisations of GHCR): the closest pattern of `repositories`
decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pullgate.policy.facts import RegistryDirectory, RegistryFacts

_PROXY = "proxy/"


@dataclass(frozen=True, slots=True)
class Route:
    """The destination of a request."""

    registry: RegistryFacts
    repository: str
    """As the upstream knows it."""
    prefix: str
    """The part before the repository in the client's own path: `proxy/my-app/quay.io/` or nothing."""


def find_route(
    directory: RegistryDirectory, *, namespace_of_license: str, host: str, path_repository: str, ns: str | None
) -> Route | None:
    """The route of a request; None for an unknown app, registry, host or domain, or one of another app.

    `host` is the requested name, lower case without port; `path_repository` stands between /v2/ and /manifests/.
    """
    registry, repository, prefix = _find(directory, namespace_of_license, host, path_repository, ns)
    if registry is None or not repository or registry.namespace != namespace_of_license:
        return None
    return Route(registry, upstream_repository(registry, repository), prefix)


def _find(
    directory: RegistryDirectory, namespace: str, host: str, path: str, ns: str | None
) -> tuple[RegistryFacts | None, str, str]:
    if path.startswith(_PROXY):
        app, _, rest = path.removeprefix(_PROXY).partition("/")
        first, _, repository = rest.partition("/")
        registry = None if "." in first else directory.registry_named(app, first)
        if registry is None:  # localhost and in-cluster names have no dot, and are hosts all the same
            registry = closest_registry(directory.registries_for_host(app, first), repository)
        return registry, repository, f"{_PROXY}{app}/{first}/"
    domain = directory.registry_for_domain(host)
    if domain is not None and domain.namespace == namespace:
        return domain, path, ""
    # Another app's domain is as unknown here as a host that nobody holds.
    if ns is not None:
        return closest_registry(directory.registries_for_host(namespace, ns), path), path, ""
    return None, path, ""


def named_app(directory: RegistryDirectory, host: str, path_repository: str) -> str | None:
    """The app that a request is for, by its path or its custom domain; None if only the license key names it."""
    if path_repository.startswith(_PROXY):
        return path_repository.removeprefix(_PROXY).partition("/")[0]
    domain = directory.registry_for_domain(host)
    return domain.namespace if domain is not None else None


def closest_registry(registries: Sequence[RegistryFacts], repository: str) -> RegistryFacts | None:
    """The one of several `registries` of one host (oldest first) to ask for `repository`; None if there are none.

    The Registry with the closest matching pattern of `repositories` wins, then the older one. If no pattern matches,
    the oldest wins: the request is refused there.
    """
    if len(registries) < 2:
        return registries[0] if registries else None
    found, closest = registries[0], (-1, False)
    for registry in registries:
        match = registry.repositories.specificity(upstream_repository(registry, repository))
        if match is not None and match > closest:
            found, closest = registry, match
    return found


def upstream_repository(registry: RegistryFacts, repository: str) -> str:
    """`repository` as the upstream knows it: Docker Hub's official images lie below library/."""
    if registry.host == "docker.io" and "/" not in repository:
        return f"library/{repository}"
    return repository
