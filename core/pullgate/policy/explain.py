"""Why a License may pull a reference, or not: the proxy's own decisions, step by step, with what decided each. Pure.

For the vendor, who may see everything: a customer gets one text for all that is not covered (`NotEntitled`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pullgate.faults import Fault
from pullgate.oci.reference import Reference
from pullgate.policy.entitlement import Entitlement, access, check_validity, covering
from pullgate.policy.facts import LicenseFacts, RegistryDirectory
from pullgate.policy.glob import Globs
from pullgate.policy.route import Route, find_route


@dataclass(frozen=True, slots=True)
class Step:
    """One decision about a pull."""

    name: str
    passed: bool | None
    """None: this step cannot tell; the upstream decides."""
    text: str
    rule: str = ""
    """The field that decided."""
    reason: str = ""
    """The reason in the faults table, if the step refuses the pull."""
    next: str = ""
    """The next move, and who has to make it."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """The steps of the decision; the first that refuses the pull is the last."""

    steps: tuple[Step, ...]
    route: Route | None = None

    @property
    def passed(self) -> bool:
        """True if no step refuses the pull."""
        return all(step.passed is not False for step in self.steps)


def explain(
    directory: RegistryDirectory,
    license: LicenseFacts,  # noqa: A002
    reference: Reference,
    now: datetime,
) -> Explanation:
    """The proxy's decision for `license` and `reference` (as a customer writes it) at `now`."""
    steps = [_license(license, now)]
    if not steps[-1].passed:
        return Explanation(tuple(steps))
    route, found = _route(directory, license, reference)
    steps.append(found)
    if route is None:
        return Explanation(tuple(steps))
    for step in (_scope(route), _entitlement(license, route), _tag(license, route, reference), _registry(route)):
        steps.append(step)
        if step.passed is False:
            break
    if steps[-1].passed and license.limits is not None:
        text = f"{license.name} has limits; how much of them is used up is known to the proxy alone"
        steps.append(Step("limits", None, text, "spec.limits"))
    return Explanation(tuple(steps), route)


def _license(license: LicenseFacts, now: datetime) -> Step:  # noqa: A002
    try:
        check_validity(license, now)
    except Fault as fault:
        rule = {"LicenseSuspended": "spec.suspended", "LicenseNotYetValid": "spec.notBefore"}
        field = rule.get(fault.reason, "spec.expiresAt")
        return Step("license", False, fault.message, field, fault.reason, f"vendor: change {field} of {license.name}")
    end = f"until {license.expires_at:%Y-%m-%d}" if license.expires_at is not None else "without an end"
    return Step("license", True, f"{license.namespace}/{license.name} is valid {end}", "spec.expiresAt")


def _route(directory: RegistryDirectory, license: LicenseFacts, reference: Reference) -> tuple[Route | None, Step]:  # noqa: A002
    host, _, _ = reference.host.partition(":")
    route = find_route(
        directory,
        namespace_of_license=license.namespace,
        host=host.lower(),
        path_repository=reference.repository,
        ns=reference.host,
    )
    if route is not None:
        form = "its path" if route.prefix else "its domain" if host in route.registry.domains else "containerd's mirror"
        text = f"{reference.host}/{reference.repository} is {route.repository} on {route.registry.host}, by {form}"
        return route, Step("route", True, text + _rivals(directory, route), f"Registry {route.registry.name}")
    return None, _no_route(directory, license, reference)


def _rivals(directory: RegistryDirectory, route: Route) -> str:
    """Why this one of several Registries of the host; nothing if a pull needs no choice."""
    registry = route.registry
    others = [r.name for r in directory.registries_for_host(registry.namespace, registry.host) if r != registry]
    named = route.prefix == f"proxy/{registry.namespace}/{registry.name}/"
    if not others or named or not registry.repositories.match(route.repository):
        return ""
    return f"; its spec.repositories match closer than those of {', '.join(others)}, or it is older"


def _no_route(directory: RegistryDirectory, license: LicenseFacts, reference: Reference) -> Step:  # noqa: A002
    host, path = reference.host, reference.repository
    fix = f"customer: write HOST/proxy/{license.namespace}/REGISTRY/REPOSITORY:TAG; vendor: add the Registry or domain"
    if path.startswith("proxy/"):
        app, _, rest = path.removeprefix("proxy/").partition("/")
        first = rest.partition("/")[0]
        if app != license.namespace:
            text = f"the path is of app {app}, the license of app {license.namespace}"
        else:
            text = f"app {app} has no Registry named {first} and none for the host {first}"
        return Step("route", False, text, "the path", "NotEntitled", fix)
    text = f"{host} is no domain or upstream of app {license.namespace}, and the path has no /proxy/"
    return Step("route", False, text, "the path", "NotEntitled", fix)


def _scope(route: Route) -> Step:
    registry = route.registry
    if not registry.repositories.match(route.repository):
        text, fix = f"Registry {registry.name} lets nobody pull {route.repository}", "vendor: add it there"
        return Step("scope", False, text, "spec.repositories", "NotEntitled", fix)
    text = f"Registry {registry.name} lets {route.repository} be asked for"
    return Step("scope", True, text, _matching(registry.repositories.patterns, route.repository))


def _registry(route: Route) -> Step:
    name = route.registry.name
    if route.registry.suspended:
        fix = f"vendor: set spec.suspend of Registry {name} to false"
        return Step("registry", False, f"Registry {name} is suspended", "spec.suspend", "RegistrySuspended", fix)
    return Step("registry", True, f"Registry {name} is not suspended", "spec.suspend")


def _matching(patterns: tuple[str, ...], repository: str) -> str:
    return "spec.repositories: " + next((p for p in patterns if Globs((p,)).match(repository)), "**")


def _entitlement(license: LicenseFacts, route: Route) -> Step:  # noqa: A002
    found = list(covering(license, route.registry.name, route.repository))
    if found:
        rules = ", ".join(f"spec.entitlements[{index}]" for index, _ in found)
        return Step("entitlement", True, f"{license.name} covers {route.repository}", rules)
    text = f"none of {len(license.entitlements)} entitlements names {route.repository} on {route.registry.name}"
    fix = f"vendor: add it to spec.entitlements of {license.name}"
    return Step("entitlement", False, text, "spec.entitlements", "NotEntitled", fix)


def _tag(license: LicenseFacts, route: Route, reference: Reference) -> Step:  # noqa: A002
    allowed = access(license, route.registry.name, route.repository)
    named = list(covering(license, route.registry.name, route.repository))
    if allowed is None or allowed.allows_every_reference:
        free = next((index for index, entitlement in named if entitlement.tags is None), 0)
        return Step("tag", True, "every tag and digest is covered", f"spec.entitlements[{free}]")
    rules = ", ".join(f"spec.entitlements[{index}].tags" for index, _ in named)
    if reference.digest is not None:
        text = "a tag rule stands: the digest is covered if a covered tag leads to it, which the upstream tells"
        return Step("tag", None, text, rules)
    tag = reference.tag or "latest"
    for index, entitlement in named:
        if entitlement.tags is not None and entitlement.tags.allows(tag):
            return Step("tag", True, f"{tag} is covered", f"spec.entitlements[{index}].tags: {_words(entitlement)}")
    text = f"{tag} is none of the tags that {license.name} covers"
    offered = "; ".join(_words(entitlement) for _, entitlement in named)
    return Step("tag", False, f"{text}: {offered}", rules, "NotEntitled", f"vendor: widen {rules} of {license.name}")


def _words(entitlement: Entitlement) -> str:
    rule = entitlement.tags
    if rule is None:
        return "every tag"
    parts = [f"match {', '.join(rule.match.patterns)}"] if rule.match is not None else []
    if rule.semver is not None:
        parts.append(f"semver {rule.semver.text}")
    return " or ".join(parts)
