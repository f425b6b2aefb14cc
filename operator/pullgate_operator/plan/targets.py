"""Image texts -> whom to ask for them: the vendor's upstream, or the proxy as a customer does. Pure."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pullgate.faults import Fault
from pullgate.oci.reference import InvalidReference, Reference, parse_reference
from pullgate.policy.facts import RegistryFacts
from pullgate.policy.route import Route, closest_registry, find_route
from pullgate.providers.exchange import Issued
from pullgate.providers.hints import hint
from pullgate.resources.compile import held_domains, registry_facts, registry_hosts
from pullgate.resources.conditions import find_condition
from pullgate.resources.registry import Registry
from pullgate.upstream.config import UpstreamConfig
from pullgate.upstream.probe import ImageResult, ProbeTarget, license_target

Targets = tuple[list[ProbeTarget], list[ImageResult]]


@dataclass(frozen=True, slots=True)
class Source:
    """A Registry and how to connect to its upstream; or why that is impossible."""

    resource: Registry
    config: UpstreamConfig | None
    problem: str = ""
    fix: str = ""
    reason: str = "CredentialsMissing"
    """The problem's reason."""
    issued: Issued | None = None
    """The token that was requested just now."""
    was_issued: bool = False
    """True if the config's credentials are a token, requested now or before, and not what the vendor wrote."""


@dataclass(frozen=True, slots=True)
class Lack:
    """A thing that an image needs and that does not exist yet, but may come."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Customer:
    """How a customer reaches the proxy."""

    license: str
    proxies: Mapping[str, UpstreamConfig] = field(repr=False)
    """By host[:port], the first of them the proxy's own; the others are custom domains."""


class Sources:
    """The Registries of one app, the oldest first, and those who ask. Implements `policy.facts.RegistryDirectory`."""

    def __init__(self, app: str, sources: tuple[Source, ...], customer: Customer | None = None) -> None:
        """`customer` is None for the vendor."""
        self._app, self._customer = app, customer
        self._by_name: dict[str, Source] = {}
        self._by_host: dict[str, list[Source]] = {}
        self._by_domain: dict[str, Source] = {}
        for source in sources:
            self._by_name.setdefault(source.resource.metadata.name, source)
            for host in registry_hosts(source.resource):
                self._by_host.setdefault(host, []).append(source)
            for domain in held_domains(source.resource):
                self._by_domain.setdefault(domain, source)

    def target(self, image: str) -> ProbeTarget | ImageResult:
        """Whom to ask for `image`; a failed result where nobody can be asked."""
        try:
            reference = parse_reference(image)
        except InvalidReference as error:
            return ImageResult(
                image, False, reason="ReferenceInvalid", message=str(error), hint="write HOST/REPOSITORY:TAG"
            )
        if self._customer is not None:
            return self._as_customer(image, reference, self._customer)
        return self._as_vendor(image, reference)

    def lack(self, image: str) -> Lack | None:
        """The thing that `image` lacks at its Registry; None: it can be pulled, or it is no image."""
        try:
            reference = parse_reference(image)
        except InvalidReference:
            return None
        route = self._route(reference)
        if route is None:
            where = f"{reference.host}/{reference.repository}"
            return Lack("RegistryUnknown", f"no Registry of app {self._app} is for {where}"[:1000])
        resource = self._by_name[route.registry.name].resource
        name, ready = resource.metadata.name, find_condition(resource.status.conditions, "Ready")
        observed = resource.status.observed_generation == resource.metadata.generation
        if ready is None or ready.status == "Unknown" or not observed:
            return Lack("RegistryNotReady", f"Registry {name} is not Ready yet")
        if ready.reason == "CredentialsMissing":
            return Lack("CredentialsMissing", f"Registry {name}: {ready.message}")
        return None

    def mark(self, image: str) -> str:
        """Another text whenever the Registry of `image` is another one, is changed, or turns Ready or not."""
        try:
            route = self._route(parse_reference(image))
        except InvalidReference:
            return ""
        if route is None:
            return ""
        resource = self._by_name[route.registry.name].resource
        meta, ready = resource.metadata, find_condition(resource.status.conditions, "Ready")
        return f"{meta.uid} {meta.generation} {ready.last_transition_time if ready is not None else ''}"

    # --- ways ---

    def _route(self, reference: Reference) -> Route | None:
        """The Registry for it; None if there is none."""
        is_proxy = self._customer is not None and reference.host in self._customer.proxies
        return find_route(
            self,
            namespace_of_license=self._app,
            host=reference.host.partition(":")[0],
            path_repository=reference.repository,
            ns=None if is_proxy else reference.host,
        )

    def _as_vendor(self, image: str, reference: Reference) -> ProbeTarget | ImageResult:
        route = self._route(reference)
        if route is None:
            return self._unknown(image, reference)
        source = self._by_name[route.registry.name]
        if source.config is None:
            return ImageResult(
                image, False, reason="CredentialsMissing", message=source.problem[:1000], hint=source.fix[:1000]
            )
        return ProbeTarget(image, source.config, route.repository, reference.target, _hint_of(source, route.repository))

    def _as_customer(self, image: str, reference: Reference, customer: Customer) -> ProbeTarget | ImageResult:
        proxy = customer.proxies.get(reference.host)
        if proxy is not None:  # as a customer writes it
            return license_target(image, reference, proxy, self._app)
        registry = closest_registry(self.registries_for_host(self._app, reference.host), reference.repository)
        if registry is None:
            return self._unknown(image, reference)
        own = next(iter(customer.proxies.values()))
        return license_target(image, reference, own, self._app, registry=registry.name)

    def _unknown(self, image: str, reference: Reference) -> ImageResult:
        hosts = ", ".join(sorted(self._by_host)) or "none"
        return ImageResult(
            image,
            False,
            reason="RegistryUnknown",
            message=f"no Registry of app {self._app} is for {reference.host}; there are {hosts}"[:1000],
            hint=f"add a Registry for {reference.host}, or take the image out",
        )

    # --- RegistryDirectory ---

    def registry_named(self, namespace: str, name: str) -> RegistryFacts | None:
        """See RegistryDirectory."""
        return self._facts(namespace, self._by_name.get(name))

    def registries_for_host(self, namespace: str, host: str) -> Sequence[RegistryFacts]:
        """See RegistryDirectory."""
        sources = self._by_host.get(host, ()) if namespace == self._app else ()
        return [registry_facts(source.resource) for source in sources]

    def registry_for_domain(self, domain: str) -> RegistryFacts | None:
        """See RegistryDirectory."""
        return self._facts(self._app, self._by_domain.get(domain))

    def _facts(self, namespace: str, source: Source | None) -> RegistryFacts | None:
        return registry_facts(source.resource) if source is not None and namespace == self._app else None


def _hint_of(source: Source, repository: str) -> Callable[[Fault], str]:
    credentials = source.config.credentials if source.config is not None else None
    username = credentials.account if credentials is not None else ""
    type_ = source.resource.spec.type
    return functools.partial(hint, type_, username=username, repository=repository, was_issued=source.was_issued)
