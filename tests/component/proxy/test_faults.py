"""Every fault that a pull can meet reaches the client by name: status, code, reason phrase and words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.catalog import WORKER, catalog, seed
from tests.support.gate import APP, Gate, license_, registry, running, secret
from tests.support.images import image
from tests.support.ports import free_port
from tests.support.tls import Authority
from tests.support.upstreams import Ending, ScriptedRegistry, faults

MANIFEST = f"/v2/proxy/{APP}/upstream/{WORKER}/manifests/1.0.0"
CONFIG = catalog()[WORKER, "1.0.0"].config
BLOB = f"/v2/proxy/{APP}/upstream/{WORKER}/blobs/{CONFIG}"
TIMEOUTS = {"connect_timeout": 1.0, "first_byte_timeout": 0.5, "idle_timeout": 0.5}


@dataclass(frozen=True, slots=True)
class World:
    gate: Gate
    upstream: ScriptedRegistry


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with ScriptedRegistry("basic") as upstream:
        await seed(upstream)
        documents = [
            secret("vendor", upstream.username, upstream.password),
            registry("upstream", upstream.host, secret="vendor"),
            license_("acme"),
        ]
        async with running(tmp_path / "resources", *documents, **TIMEOUTS) as gate:
            yield World(gate, upstream)


Script = Callable[[ScriptedRegistry], Any]


def spoil(*what: Any, target: str = "/manifests/") -> Script:
    return lambda upstream: upstream.on("GET|HEAD", target, *what, after_login=True)


CASES: list[tuple[str, str, Script, str, int, str, str]] = [
    (
        "the upstream rejects the credentials",
        MANIFEST,
        lambda upstream: setattr(upstream.login, "password", "CANARY-another"),
        "UpstreamUnauthorized",
        403,
        "DENIED",
        "rejected the vendor's credentials; your license is fine",
    ),
    (
        "the upstream forbids the repository",
        MANIFEST,
        spoil(faults.refuse(403, "DENIED")),
        "UpstreamForbidden",
        403,
        "DENIED",
        f"the vendor's credentials may not read {WORKER}",
    ),
    (
        "no such tag",
        MANIFEST.replace("1.0.0", "9.9.9"),
        lambda _: None,
        "ManifestUnknown",
        404,
        "MANIFEST_UNKNOWN",
        f"{WORKER}:9.9.9 is not on",
    ),
    (
        "no such blob",
        BLOB.replace(CONFIG, "sha256:" + "0" * 64),
        lambda _: None,
        "BlobUnknown",
        404,
        "BLOB_UNKNOWN",
        f"{WORKER}@sha256:000",
    ),
    (
        "no such repository",
        MANIFEST.replace(WORKER, "my-org/none"),
        lambda _: None,
        "RepositoryUnknown",
        404,
        "NAME_UNKNOWN",
        "my-org/none is not on",
    ),
    (
        "the upstream limits the account",
        MANIFEST,
        spoil(faults.rate_limited("42")),
        "UpstreamRateLimited",
        429,
        "TOOMANYREQUESTS",
        "limits the vendor's account; retry in 42 s",
    ),
    (
        "the upstream fails",
        MANIFEST,
        spoil(faults.answer(500)),
        "UpstreamError",
        502,
        "UNAVAILABLE",
        "answered 500",
    ),
    (
        "the upstream does not answer",
        MANIFEST,
        spoil(faults.hang()),
        "UpstreamTimeout",
        504,
        "UNAVAILABLE",
        "no answer from",
    ),
    (
        "a manifest with another digest than asked for",
        MANIFEST.replace("1.0.0", catalog()[WORKER, "1.0.0"].digest),
        spoil(faults.body(image("another").manifest)),
        "DigestMismatch",
        502,
        "UNAVAILABLE",
        "sent other bytes than sha256:",
    ),
    (
        "a manifest without an end",
        MANIFEST,
        spoil(faults.endless()),
        "UpstreamProtocol",
        502,
        "UNAVAILABLE",
        "broke the registry protocol",
    ),
    (
        "an answer that is no HTTP",
        MANIFEST,
        spoil(faults.raw(b"SSH-2.0-OpenSSH_9\r\n")),
        "UpstreamProtocol",
        502,
        "UNAVAILABLE",
        "broke the registry protocol",
    ),
    (
        "a blob that is redirected to a private address",
        BLOB,
        spoil(faults.redirect("http://169.254.169.254/latest"), target="/blobs/"),
        "RedirectRefused",
        502,
        "UNAVAILABLE",
        "redirects to where its Registry does not allow",
    ),
    (
        "a token server that the Registry does not allow",
        MANIFEST,
        lambda upstream: upstream.on("GET|HEAD", ".*", faults.challenge('Bearer realm="https://evil.example/t"')),
        "RealmRefused",
        502,
        "UNAVAILABLE",
        "names a token server that Registry",
    ),
]


@pytest.mark.parametrize(
    ("path", "script", "reason", "status", "code", "words"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
async def test_a_fault_of_the_upstream_is_told_by_name(
    world: World, path: str, script: Script, reason: str, status: int, code: str, words: str
) -> None:
    script(world.upstream)
    answer = await world.gate.get(path, world.gate.key("acme"))
    assert (answer.fault, answer.status, answer.code) == (reason, status, code), answer.body
    assert words in answer.message
    assert len(answer.message) <= 200
    assert answer.reason.isascii()
    assert words.partition(";")[0][:60] in answer.reason
    assert answer.headers["X-Request-Id"]
    record = world.gate.records()[-1]
    assert (record["reason"], record["status"], record["requestId"]) == (reason, status, answer.headers["X-Request-Id"])
    if reason == "DigestMismatch":
        return  # a HEAD has no bytes to compare
    head = await world.gate.ask("HEAD", path, world.gate.key("acme"))
    assert (head.fault, head.status) == (reason, status)


async def test_a_rate_limit_is_remembered_so_that_the_upstream_is_left_alone(world: World) -> None:
    world.upstream.on("GET|HEAD", "/manifests/", faults.rate_limited("42"), after_login=True)
    first = await world.gate.get(MANIFEST, world.gate.key("acme"))
    asked = len(world.upstream.requests)
    second = await world.gate.get(MANIFEST, world.gate.key("acme"))
    assert (first.status, second.status) == (429, 429)
    assert len(world.upstream.requests) == asked
    assert 40 <= int(second.headers["Retry-After"]) <= 42


async def test_a_refused_connection_and_a_name_that_does_not_resolve_are_told_apart(world: World) -> None:
    dead = registry("dead", f"127.0.0.1:{free_port()}", secret="vendor")
    nowhere = registry("nowhere", "registry.invalid", secret="vendor")
    await world.gate.apply(dead, nowhere)
    key = world.gate.key("acme")
    refused = await world.gate.get(MANIFEST.replace("/upstream/", "/dead/"), key)
    assert (refused.fault, refused.status, refused.code) == ("UpstreamUnreachable", 503, "UNAVAILABLE")
    assert "refused" in refused.message
    unresolved = await world.gate.get(MANIFEST.replace("/upstream/", "/nowhere/"), key)
    assert (unresolved.fault, unresolved.status) == ("UpstreamUnreachable", 503)
    assert "registry.invalid: name does not resolve" in unresolved.reason


async def test_an_untrusted_certificate_is_told_and_the_registrys_own_ca_mends_it(
    world: World, authority: Authority
) -> None:
    async with ScriptedRegistry(name="localhost", tls=authority.server(("localhost",))) as upstream:
        await seed(upstream)
        await world.gate.apply(registry("tls", upstream.host, plain_http=False))
        key, path = world.gate.key("acme"), MANIFEST.replace("/upstream/", "/tls/")
        answer = await world.gate.get(path, key)
        assert (answer.fault, answer.status) == ("UpstreamTLS", 503)
        assert "no trusted TLS connection" in answer.message
        ca = secret("ca", "", "")
        ca |= {"type": "Opaque", "stringData": {"ca.crt": authority.pem}}
        trusting = registry(
            "tls", upstream.host, plain_http=False, tls={"caSecretRef": {"name": "ca", "key": "ca.crt"}}
        )
        await world.gate.apply(ca, trusting)
        await world.gate.until_status(path, key, 200)


async def test_a_suspended_registry_and_one_without_its_secret_say_that_it_is_the_vendors_move(world: World) -> None:
    key = world.gate.key("acme")
    await world.gate.apply(registry("paused", world.upstream.host, secret="vendor", suspend=True))
    paused = await world.gate.get(MANIFEST.replace("/upstream/", "/paused/"), key)
    assert (paused.fault, paused.status) == ("RegistrySuspended", 503)
    await world.gate.delete("Secret", "vendor")
    missing = await world.gate.until_status(MANIFEST, key, 503)
    assert missing.fault == "CredentialsMissing"
    assert "Registry upstream has no usable credentials yet" in missing.message


async def test_no_credentials_at_all_ask_for_a_login(world: World) -> None:
    answer = await world.gate.get(MANIFEST)
    assert (answer.fault, answer.status, answer.code) == ("LoginRequired", 401, "UNAUTHORIZED")
    assert answer.message.startswith("no credentials were sent; log in with your license key")


@pytest.mark.parametrize(
    ("path", "reason", "code"),
    [
        ("/v2/Bad/manifests/1", "PathInvalid", "NAME_INVALID"),
        ("/v2/a/manifests/-x", "ReferenceInvalid", "MANIFEST_INVALID"),
        ("/v2/a/blobs/sha256:x", "DigestInvalid", "DIGEST_INVALID"),
    ],
)
async def test_a_path_that_is_none_is_told_by_name(world: World, path: str, reason: str, code: str) -> None:
    answer = await world.gate.get(path, world.gate.key("acme"))
    assert (answer.fault, answer.code) == (reason, code)
    assert answer.status in {400, 404}


async def test_beyond_its_bound_of_requests_the_proxy_says_overloaded(tmp_path: Path) -> None:
    async with running(tmp_path / "resources", license_("acme"), max_requests=0) as gate:
        answer = await gate.get("/v2/", gate.key("acme"))
        assert (answer.fault, answer.status) == ("Overloaded", 503)
        assert int(answer.headers["Retry-After"]) >= 1


async def test_a_dead_upstream_that_comes_back_heals_by_itself(world: World) -> None:
    world.upstream.on_connect(Ending.RESET, times=50)
    key = world.gate.key("acme")
    world.upstream.on("GET|HEAD", ".*", faults.reset())
    assert (await world.gate.get(MANIFEST, key)).fault == "UpstreamUnreachable"
    world.upstream.heal()
    assert (await world.gate.get(MANIFEST, key)).status == 200
