"""Replicas behind a balancer decide alike under a tag rule: what one resolved holds at the others at once."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from pullgate_proxy.app import Proxy
from pullgate_proxy.lineage import proof
from pullgate_proxy.lineage.grants import Grants
from pullgate_proxy.peers.grants import GrantPeers
from pullgate_proxy.state.tokens import SigningKey, SigningKeys
from tests.support.gate import APP, Answer, Gate, license_, registry, running
from tests.support.images import artifact, image, index
from tests.support.ports import free_port
from tests.support.upstreams import ScriptedRegistry, faults
from tests.support.upstreams.scripted_registry import document
from tests.support.upstreams.wire import Reply, Request

REPOSITORY = "rules/api"
BASE = f"/v2/proxy/{APP}/upstream/{REPOSITORY}"
ONE = index([image("replicas-amd"), image("replicas-arm", architecture="arm64")])
SIGNATURE = artifact(None, "application/vnd.dev.cosign.simplesigning.v1+json", b"a signature")
SBOM = artifact(ONE, payload=b"an SBOM of ONE")
STRANGER = image("replicas-stranger")
RULE = {"registry": "upstream", "repositories": ["rules/*"]}
NARROW = license_("narrow", {**RULE, "tags": {"match": ["1.*"]}})
EXACT = license_("exact", {**RULE, "tags": {"match": ["1.0.0"]}})
OTHER = license_("other", {**RULE, "tags": {"match": ["2.*"]}})


@dataclass(frozen=True, slots=True)
class World:
    gate: Gate
    upstream: ScriptedRegistry
    replicas: list[Proxy]

    async def ask(self, number: int, end: str, method: str = "GET", license_name: str = "narrow") -> Answer:
        """Ask the replica with index `number`, modulo their count."""
        proxy = self.replicas[number % len(self.replicas)]
        return await self.gate.ask(method, f"{BASE}/{end}", self.gate.key(license_name), proxy=proxy)

    async def restart(self) -> None:
        """Start a new replica without peers and without proofs, instead of the old ones."""
        replica = await self.gate.start_proxy(peers=(), admin_port=0)
        await self.gate.until(lambda: ready(replica, 0))
        self.replicas[:] = [replica]


@contextlib.asynccontextmanager
async def world_of(directory: Path, *, know_each_other: bool = True) -> AsyncIterator[World]:
    async with ScriptedRegistry() as upstream:
        await upstream.push(REPOSITORY, "1.0.0", ONE)
        # cosign's own tag (pkg/oci/remote/remote.go, SignatureTag).
        await upstream.push(REPOSITORY, f"{ONE.digest.replace(':', '-')}.sig", SIGNATURE)
        await upstream.push(REPOSITORY, None, SBOM)
        await upstream.push(REPOSITORY, "3.0.0", STRANGER)
        ports = [free_port(), free_port()]
        peers = tuple(("127.0.0.1", port) for port in ports) if know_each_other else ()
        documents = [registry("upstream", upstream.host), NARROW, EXACT, OTHER]
        async with running(directory / "resources", *documents, peers=peers, admin_port=ports[0]) as gate:
            second = await gate.start_proxy(admin_port=ports[1])
            replicas = [gate.proxy, second]
            for replica in replicas:
                await gate.until(lambda each=replica: ready(each, len(peers)))  # type: ignore[misc]
            yield World(gate, upstream, replicas)


def ready(replica: Proxy, count: int) -> bool:
    there = len(replica.grant_peers.membership.others()) == count
    return there and replica.snapshot.synced and bool(replica.snapshot.signing_keys.keys)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with world_of(tmp_path) as world:
        yield world


def nothing_can_be_searched(world: World) -> None:
    """The upstream lists no tags, so that only another replica's word is left."""
    world.upstream.on("GET", "/tags/list", faults.refuse(405, "UNSUPPORTED"))


async def test_a_digest_that_one_replica_resolved_is_served_by_the_other_without_a_search(world: World) -> None:
    nothing_can_be_searched(world)
    assert (await world.ask(0, "manifests/1.0.0", "HEAD")).status == 200
    assert (await world.ask(1, f"manifests/{ONE.digest}")).status == 200
    for number, child in enumerate(ONE.children):
        assert (await world.ask(number, f"manifests/{child.digest}")).status == 200
        for blob in (child.config, *child.layers):
            number += 1
            assert (await world.ask(number, f"blobs/{blob}")).status == 200
    assert world.upstream.received("GET", "/tags/list") == []


@pytest.mark.parametrize("first", [0, 1])
async def test_a_signature_is_pulled_through_a_balancer_by_its_tag(world: World, first: int) -> None:
    nothing_can_be_searched(world)
    tag = f"{ONE.digest.replace(':', '-')}.sig"
    ends = ["manifests/1.0.0", f"manifests/{tag}", *(f"blobs/{blob}" for blob in SIGNATURE.blobs)]
    for number, end in enumerate([*ends, f"manifests/{SIGNATURE.digest}", *reversed(ends)], first):
        assert (await world.ask(number, end)).status == 200, end


async def test_a_referrer_is_pulled_through_a_balancer(world: World) -> None:
    nothing_can_be_searched(world)
    ends = [f"manifests/{SBOM.digest}", *(f"blobs/{blob}" for blob in SBOM.blobs)]
    for number, end in enumerate(["manifests/1.0.0", f"referrers/{ONE.digest}", *ends]):
        assert (await world.ask(number, end)).status == 200, end


@pytest.mark.parametrize("license_name", ["narrow", "exact"])
async def test_a_replica_that_is_alone_finds_what_is_about_a_granted_digest(tmp_path: Path, license_name: str) -> None:
    async with world_of(tmp_path, know_each_other=False) as world:
        for blob in (*SIGNATURE.blobs, *SBOM.blobs):
            await world.restart()
            assert (await world.ask(0, f"blobs/{blob}", license_name=license_name)).status == 200
        await world.restart()
        assert (await world.ask(0, f"manifests/{SIGNATURE.digest}", license_name=license_name)).status == 200
        refused = await world.ask(0, f"blobs/{STRANGER.config}", license_name=license_name)
        assert refused.fault == "NotEntitled"


async def test_a_grant_holds_for_no_other_rule_and_no_other_digest(world: World) -> None:
    assert (await world.ask(0, "manifests/1.0.0")).status == 200
    assert (await world.ask(1, f"manifests/{ONE.digest}", license_name="other")).fault == "NotEntitled"
    assert (await world.ask(1, f"manifests/{STRANGER.digest}")).fault == "NotEntitled"


async def test_two_thousand_tags_in_small_pages_are_no_refusal(tmp_path: Path) -> None:
    async with world_of(tmp_path, know_each_other=False) as world:
        for number in range(2100):
            world.upstream.add(REPOSITORY, f"1.{number + 10}.0", ONE)
        oldest = image("replicas-oldest")
        world.upstream.add(REPOSITORY, "1.0.1", oldest)
        tags = world.upstream.tags(REPOSITORY)
        assert len(tags) > 2100
        world.upstream.on("GET", "/tags/list", in_pages_of(100, tags))
        assert (await world.ask(1, f"manifests/{oldest.digest}")).status == 200


def in_pages_of(count: int, tags: list[str]) -> Callable[[Request, Reply], Reply]:
    """A registry that gives out no more than `count` tags at once, whatever n says (Quay: 100)."""

    def answer(request: Request, _: Reply) -> Reply:
        rest = sorted(tag for tag in tags if tag > request.query.get("last", ""))
        page = rest[:count]
        link = {"Link": f'<{request.path}?n={count}&last={page[-1]}>; rel="next"'} if len(rest) > count else {}
        return document({"name": REPOSITORY, "tags": page}, link)

    return answer


async def test_a_bound_that_is_reached_asks_for_a_retry_which_goes_on_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proof, "SECONDS", 0.1)
    async with world_of(tmp_path, know_each_other=False) as world:
        tags = [f"1.{number}.1" for number in range(1500)]
        for tag in tags:
            world.upstream.add(REPOSITORY, tag, ONE)
        oldest = image("replicas-oldest")
        world.upstream.add(REPOSITORY, "1.0.1", oldest)
        answers = []
        for _ in range(200):
            answers.append(await world.ask(0, f"manifests/{oldest.digest}"))
            if answers[-1].status == 200:
                break
        assert answers[0].fault == "ProofPending"
        assert (answers[0].status, answers[0].headers["Retry-After"]) == (503, "5")
        assert answers[-1].status == 200
        assert {answer.fault for answer in answers[:-1]} == {"ProofPending"}
        heads = [request.path for request in world.upstream.received("HEAD", "/manifests/1")]
        assert len(heads) - len(set(heads)) <= 8 * len(answers), "no tag is resolved again but for those under way"


async def test_a_grant_is_told_only_for_a_ticket_and_believed_only_with_one(world: World) -> None:
    assert (await world.ask(0, "manifests/1.0.0", "HEAD")).status == 200
    replica = world.replicas[0]
    keys, now = replica.snapshot.signing_keys, time.time()
    entry = next(iter(replica._grants._until)).hex()
    path = f"/grants/{entry}"
    async with aiohttp.ClientSession() as session:

        async def ask(ticket: str, path: str = path, **headers: str) -> int:
            headers["Authorization"] = f"Bearer {ticket}"
            async with session.get(f"http://127.0.0.1:{replica.admin_port}{path}", headers=headers) as response:
                return response.status

        assert await ask("") == 403
        assert await ask(keys.issue_ticket("/grants/" + "0" * 32, now)) == 403
        assert await ask(keys.issue_ticket(path, now - 3600)) == 403
        assert await ask(keys.issue(b"k" * 32, now)) == 403, "a client's token is no ticket"
        assert await ask(keys.issue_ticket(path + "0", now), path + "0") == 403
        assert await ask(keys.issue_ticket(path, now), **{"X-Pullgate-Instance": replica.usage.instance}) == 421
        assert await ask(keys.issue_ticket(path, now)) == 200
    customer = await world.gate.get(path, world.gate.key("narrow"))
    assert customer.status == 404, "customers do not reach it"


KEYS = SigningKeys((SigningKey("a", b"k" * 32, time.time() + 3600),))
FORGED = SigningKeys((SigningKey("a", b"f" * 32, time.time() + 3600),))


def signed(path: str, seconds: int, keys: SigningKeys = KEYS, told: int | None = None) -> str:
    ticket = keys.issue_ticket(f"granted {path} {seconds}", time.time())
    return f"{seconds if told is None else told} {ticket}"


@pytest.mark.parametrize(
    ("forge", "believed"),
    [
        (lambda path, _: signed(path, 60), True),
        (lambda path, _: signed(path, 60, FORGED), False),
        (lambda path, _: signed(path, 60, told=3000), False),
        (lambda path, _: signed("/grants/" + "0" * 32, 60), False),
        (lambda path, _: signed(path, 99999), False),
        (lambda _, ticket: f"60 {ticket}", False),
        (lambda *_: "60", False),
        (lambda *_: "yes", False),
    ],
    ids=["signed", "another key", "more seconds", "another entry", "too long", "the question's ticket", "none", "text"],
)
async def test_an_address_that_is_no_replica_cannot_grant(forge: Callable[[str, str], str], believed: bool) -> None:
    async def answer(request: web.BaseRequest) -> web.Response:
        ticket = request.headers["Authorization"].removeprefix("Bearer ")
        return web.Response(text=forge(request.raw_path, ticket))

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    grants = Grants(10)
    peers = GrantPeers(grants, [], "me", lambda: KEYS)
    peers.membership._there = {("127.0.0.1", runner.addresses[0][1])}
    try:
        found = await peers.find(b"e" * 16)
        assert (found > 0) is believed
        assert (grants.left(b"e" * 16, time.monotonic()) > 0) is believed
        assert found <= 60
    finally:
        await peers.close()
        await runner.cleanup()


async def test_a_replica_that_is_gone_costs_no_pull(world: World) -> None:
    assert (await world.ask(0, "manifests/1.0.0", "HEAD")).status == 200
    await world.replicas[0].stop()
    assert (await world.ask(1, f"manifests/{ONE.digest}")).status == 200
