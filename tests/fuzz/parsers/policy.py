"""Parsers of a vendor's rules for pulls: globs, ranges, routes; keys and license files; counts."""

from __future__ import annotations

import re
from typing import Any, Final

from pullgate.faults import KeyMalformed
from pullgate.licensing.keys import _check, check_key
from pullgate.licensing.license_file import FILE_LIMIT, InvalidLicenseFile, public_pem, sign_license, verify_license
from pullgate.licensing.usage import Counts, read_tally
from pullgate.oci.json_text import read_json
from pullgate.policy.facts import RegistryFacts
from pullgate.policy.glob import Globs, validate_glob
from pullgate.policy.route import Route, find_route
from pullgate.policy.semver_range import SemverRange, validate_semver
from tests.fuzz.parsers.keys import ED25519_PEM
from tests.fuzz.parsers.oci import _JSON_WORDS, _YAML_WORDS
from tests.fuzz.parsers.parser import LARGEST, Parser, parts, text, wire

_NOW: Final = 1_800_000_000.0
_ONE: Final = Counts(1, 1, 1)
_PUBLIC: Final = public_pem(ED25519_PEM)


def _match_globs(data: bytes) -> tuple[str, str, bool | None]:
    pattern, name = parts(data, 2)
    if validate_glob(pattern) is not None:
        return pattern, name, None
    return pattern, name, Globs((pattern,)).match(name)


def _globs(found: tuple[str, str, bool | None]) -> None:
    """Agrees with a match segment by segment, if that is not too slow; a name has no empty segment."""
    pattern, name, matched = found
    if matched is not None and len(pattern) + len(name) < 60 and pattern.count("**") < 4 and _is_name(name):
        assert matched == _covers(pattern.split("/"), name.split("/"))


def _is_name(name: str) -> bool:
    return "\n" not in name and all(name.split("/"))


def _covers(pattern: list[str], name: list[str]) -> bool:
    if not pattern:
        return not name
    if pattern[0] == "**":
        return any(_covers(pattern[1:], name[i:]) for i in range(len(name) + 1) if all(name[:i]))
    segment = re.escape(pattern[0]).replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
    return bool(name) and re.fullmatch(segment, name[0]) is not None and _covers(pattern[1:], name[1:])


def _match_range(data: bytes) -> tuple[str, str, bool | None]:
    written, tag = parts(data, 2)
    if validate_semver(written) is not None:
        return written, tag, None
    return written, tag, SemverRange(written).match(tag)


def _range(found: tuple[str, str, bool | None]) -> None:
    written, tag, matched = found
    if matched:
        assert tag.isascii()
        assert SemverRange(written).match(tag.removeprefix("v")) is True


_ALL: Final = Globs(("**",))
_REGISTRIES: Final = (
    RegistryFacts("my-app", "quay", "Quay", "quay.io", _ALL, domains=("images.myapp.com",)),
    RegistryFacts("my-app", "hub", "DockerHub", "docker.io", _ALL),
    RegistryFacts("my-app", "hub-of-one", "DockerHub", "docker.io", Globs(("my-org/**", "library/nginx"))),
    RegistryFacts("my-app", "local", "Generic", "localhost:5000", _ALL),
    RegistryFacts("other", "quay", "Quay", "quay.io", _ALL, domains=("images.other.com",)),
)


class _Directory:
    def registry_named(self, namespace: str, name: str) -> RegistryFacts | None:
        return next((r for r in _REGISTRIES if (r.namespace, r.name) == (namespace, name)), None)

    def registries_for_host(self, namespace: str, host: str) -> list[RegistryFacts]:
        return [r for r in _REGISTRIES if (r.namespace, r.host) == (namespace, host)]

    def registry_for_domain(self, domain: str) -> RegistryFacts | None:
        return next((r for r in _REGISTRIES if domain in r.domains), None)


def _find_route(data: bytes) -> tuple[str, Route | None]:
    host, ns, path = parts(data, 3)
    found = find_route(
        _Directory(), namespace_of_license="my-app", host=host, path_repository=path, ns=ns if ns else None
    )
    return path, found


def _route(found: tuple[str, Route | None]) -> None:
    path, route = found
    if route is not None:
        assert route.registry.namespace == "my-app"
        assert route.prefix + route.repository in {path, f"{route.prefix}library/{path.removeprefix(route.prefix)}"}


def _check_key(data: bytes) -> str:
    check_key(wire(data))
    return wire(data)


def _key(key: str) -> None:
    assert re.fullmatch(r"pgk_[0-9A-Za-z]{49}", key, re.ASCII)
    assert _check(key[:-6]) == key[-6:]


def _license_file(facts: dict[str, Any]) -> None:
    """Facts that were verified can be signed again, and verify to the same facts."""
    assert verify_license(sign_license(facts, ED25519_PEM), [_PUBLIC]) == facts


def _tally(tally: Any) -> None:
    tally.count(_NOW, _ONE, "k00000")
    tally.total(_NOW)
    tally.between(0, 10**9)
    assert read_tally(tally.document()).document()["lastPull"] == tally.last_pull


PARSERS: Final = (
    Parser("glob", _match_globs, (), _globs, (b"*", b"**", b"/", b"?", b"a", b"b", b".", b"\n", b"**/", b"a*a*"),
        512),
    Parser(
        "semver", _match_range, (), _range,
        (b">=", b"<", b"^", b"~", b"1", b".", b"x", b"*", b" - ", b" || ", b"\n", b"v", b"-rc.1", b"+b", b"0",
         b"999999999",
         b"||", b"latest", b"="), 512,
    ),
    Parser(
        "route", _find_route, (), _route,
        (b"proxy/", b"my-app/", b"other/", b"quay.io/", b"quay/", b"localhost:5000/", b"\n", b"/",
         b"images.other.com",
         b"images.myapp.com", b"docker.io", b".."),
    ),
    Parser("key", _check_key, (KeyMalformed,), _key, (b"pgk_", b"0" * 43, b"a" * 6, b"\n", b"\xd9\xa3")),
    Parser(
        "license-file", lambda data: verify_license(text(data), [_PUBLIC]), (InvalidLicenseFile,), _license_file,
        (b"kind: LicenseFile\n", b"signature: ", b"license:\n", b"eyJhbGciOiJFZERTQSJ9.", b"e30.", b"W1tb",
         *_YAML_WORDS),
        FILE_LIMIT,
    ),
    Parser(
        "tally", lambda data: read_tally(read_json(data)),
        (ValueError, KeyError, TypeError, AttributeError, OverflowError), _tally,
        (b'{"hours":[', b"[490000,1,2,3]", b'"lastPull":', b'"keys":{"k00000":', *_JSON_WORDS), LARGEST, is_json=True,
    ),
)  # fmt: skip
