"""The ways a pull fails, as the person at the client meets them: each sets one up and says which words must be seen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from pullgate.licensing.keys import key_digest, key_id, new_key
from pullgate_proxy.limits.throttle import AT_ONCE, Throttle
from tests.support.catalog import CHART, WORKER
from tests.support.gate import APP, Gate, license_, registry
from tests.support.ports import free_port
from tests.support.tls import Authority
from tests.support.upstreams import ScriptedRegistry, faults


@dataclass(slots=True)
class World:
    """A Pullgate before a scripted upstream; a scenario changes the image and the login of the pull."""

    gate: Gate
    upstream: ScriptedRegistry
    repository: str
    tag: str
    registry: str = "upstream"
    username: str = "acme"
    password: str = ""

    @property
    def reference(self) -> str:
        """The image reference that the client pulls."""
        return f"{self.gate.host}/proxy/{APP}/{self.registry}/{self.repository}:{self.tag}"


Prepare = Callable[[World], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One way to fail."""

    reason: str
    """Its reason in the faults table."""
    title: str
    words: str
    """The cause, as every client should show it."""
    prepare: Prepare


SCENARIOS: list[Scenario] = []


def scenario(reason: str, title: str, words: str) -> Callable[[Prepare], Prepare]:
    """Register a way to fail."""

    def register(prepare: Prepare) -> Prepare:
        SCENARIOS.append(Scenario(reason, title, words, prepare))
        return prepare

    return register


def probe(world: World) -> str:
    """A path that is refused once the change has taken effect."""
    return f"/v2/proxy/{APP}/{world.registry}/{world.repository}/manifests/{world.tag}"


@scenario("LoginRequired", "nobody logged in", "no credentials were sent")
async def _(world: World) -> None:
    world.username = ""


@scenario("KeyMalformed", "a key that was cut when it was copied", "it was cut or mistyped")
async def _(world: World) -> None:
    world.password = world.password[:-3]


@scenario("KeyUnknown", "a key that no license has", "no license has this key")
async def _(world: World) -> None:
    world.password = new_key()


@scenario("TooManyAttempts", "wrong keys again and again", "a wrong license key came from your address")
async def _(world: World) -> None:
    # The clock stands still: a client that obeys Retry-After and returns after 3 s gets the same answer.
    world.gate.proxy.throttle = Throttle(lambda: 0.0)
    world.password = new_key()
    for _ in range(AT_ONCE):
        await world.gate.get(probe(world), world.password)


@scenario("KeyRotated", "a key that was replaced", "this license key was replaced on")
async def _(world: World) -> None:
    document = license_("acme", keys={"overlap": "0s"})
    document["metadata"]["annotations"] = {"pullgate.dev/rotate-key": "now"}
    await world.gate.apply(document)
    await world.gate.until_status(probe(world), world.password, 403)


@scenario("KeyRevoked", "a key that leaked", "this license key was revoked on")
async def _(world: World) -> None:
    await world.gate.apply(license_("acme", keys={"revoked": [key_id(key_digest(world.password))]}))
    # The proxy refuses the key by the spec at once, and knows the day when the operator wrote the status.
    await world.gate.until_message(probe(world), world.password, "this license key was revoked on ")


async def _license(world: World, **spec: Any) -> None:
    await world.gate.apply(license_("acme", **spec))
    await world.gate.until_status(probe(world), world.password, 403)


@scenario("LicenseExpired", "the license has ended", "license acme expired on 2026-10-01")
async def _(world: World) -> None:
    await _license(world, expiresAt="2026-10-01T00:00:00Z")


@scenario("LicenseNotYetValid", "the license has not begun", "license acme is not valid before 2090-01-01")
async def _(world: World) -> None:
    await _license(world, notBefore="2090-01-01T00:00:00Z")


@scenario("LicenseSuspended", "the vendor suspended the license", "license acme is suspended: invoice 77 unpaid")
async def _(world: World) -> None:
    await _license(world, suspended={"reason": "invoice 77 unpaid"})


@scenario("NotEntitled", "the license does not cover the image", "license acme does not cover proxy/my-app/upstream/")
async def _(world: World) -> None:
    await world.gate.apply(license_("acme", {"repositories": ["something/else"]}))
    await world.gate.until_status(probe(world), world.password, 403)


@scenario("RegistrySuspended", "the vendor paused the registry", "Registry paused is suspended")
async def _(world: World) -> None:
    await world.gate.apply(registry("paused", world.upstream.host, secret="vendor", suspend=True))
    world.registry = "paused"


@scenario("CredentialsMissing", "the vendor's Secret is gone", "Registry upstream has no usable credentials yet")
async def _(world: World) -> None:
    await world.gate.delete("Secret", "vendor")
    await world.gate.until_status(probe(world), world.password, 503)


@scenario("UpstreamUnauthorized", "the vendor's password was changed upstream", "rejected the vendor's credentials")
async def _(world: World) -> None:
    world.upstream.login.password = "CANARY-another"


@scenario("UpstreamForbidden", "the vendor's account may not read it", "the vendor's credentials may not read")
async def _(world: World) -> None:
    world.upstream.on("GET|HEAD", "/manifests/", faults.refuse(403, "DENIED"), after_login=True)


@scenario("ManifestUnknown", "no such tag upstream", ":9.9.9 is not on")
async def _(world: World) -> None:
    world.tag = "9.9.9"


@scenario("RepositoryUnknown", "no such repository upstream", "my-org/none is not on")
async def _(world: World) -> None:
    world.repository = "my-org/none"


@scenario("BlobUnknown", "a layer is missing upstream", "is not on 127.0.0.1")
async def _(world: World) -> None:
    world.upstream.on("GET|HEAD", "/blobs/", faults.refuse(404, "BLOB_UNKNOWN"), after_login=True)


@scenario(
    "UpstreamRateLimited", "the upstream limits the vendor's account", "limits the vendor's account; retry in 1 s"
)
async def _(world: World) -> None:
    world.upstream.on("GET|HEAD", "/manifests/", faults.rate_limited("1"), after_login=True)


@scenario("UpstreamUnreachable", "the upstream is down", "connection refused")
async def _(world: World) -> None:
    await world.gate.apply(registry("dead", f"127.0.0.1:{free_port()}", secret="vendor"))
    world.registry = "dead"


@scenario("UpstreamUnreachable", "the upstream's name does not resolve", "registry.invalid: name does not resolve")
async def _(world: World) -> None:
    await world.gate.apply(registry("nowhere", "registry.invalid", secret="vendor"))
    world.registry = "nowhere"


@scenario("UpstreamTLS", "the upstream's certificate is not trusted", "no trusted TLS connection")
async def _(world: World) -> None:
    tls = await ScriptedRegistry(name="localhost", tls=Authority().server(("localhost",))).__aenter__()
    world.gate.on_exit(tls.__aexit__)
    await world.gate.apply(registry("untrusted", tls.host, secret="vendor", plain_http=False))
    world.registry = "untrusted"


@scenario("UpstreamTimeout", "the upstream does not answer", "no answer from 127.0.0.1")
async def _(world: World) -> None:
    world.upstream.on("GET|HEAD", "/manifests/", faults.hang(), after_login=True)


@scenario("UpstreamError", "the upstream fails", "answered 500")
async def _(world: World) -> None:
    world.upstream.on("GET|HEAD", "/manifests/", faults.answer(500), after_login=True)


@scenario("UpstreamProtocol", "the upstream talks nonsense", "broke the registry protocol")
async def _(world: World) -> None:
    world.upstream.on("GET|HEAD", "/manifests/", faults.raw(b"SSH-2.0-OpenSSH_9\r\n"), after_login=True)


@scenario("DigestMismatch", "the upstream sends another manifest", "sent other bytes than sha256:")
async def _(world: World) -> None:
    world.upstream.on("GET", "/manifests/", faults.corrupt(5), after_login=True)


@scenario("RealmRefused", "the upstream names a foreign token server", "names a token server that Registry")
async def _(world: World) -> None:
    world.upstream.on("GET|HEAD", "/manifests/", faults.challenge('Bearer realm="https://evil.example/t"'))


@scenario("RedirectRefused", "the upstream redirects into a private network", "redirects to where its Registry")
async def _(world: World) -> None:
    target = "http://169.254.169.254/latest"
    world.upstream.on("GET|HEAD", "/manifests/", faults.redirect(target), after_login=True)


@scenario("Overloaded", "the proxy is at its limit", "the proxy is at its limit")
async def _(world: World) -> None:
    world.gate.override(max_requests=0)


def image_for(client_name: str) -> tuple[str, str]:
    """(repository, tag): helm pulls charts."""
    return (CHART, "0.1.0") if client_name == "helm" else (WORKER, "1.0.0")
