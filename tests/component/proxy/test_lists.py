"""Lists of upstreams that page in their own way, or have no referrers API: each reaches the client complete."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, unquote_plus

import pytest

from pullgate_proxy.lists.documents import next_query, referrers_tag
from tests.support.gate import APP, Answer, Gate, license_, registry, running
from tests.support.images import artifact, image, referrers_index
from tests.support.upstreams import ScriptedRegistry, faults
from tests.support.upstreams.scripted_registry import document
from tests.support.upstreams.wire import Reply, Request

REPOSITORY = "rules/api"
BASE = f"/v2/proxy/{APP}/upstream/{REPOSITORY}"
TAGS = [f"1.{number}.0" for number in range(7)]
SUBJECT = image("subject")
SIGNATURE = artifact(SUBJECT)
NARROW = license_("narrow", {"repositories": ["rules/*"], "tags": {"match": ["1.*"]}})


@dataclass(frozen=True, slots=True)
class World:
    gate: Gate
    upstream: ScriptedRegistry

    async def get(self, end: str, license_name: str = "wide") -> Answer:
        path = end if end.startswith("/") else f"{BASE}/{end}"
        return await self.gate.get(path, self.gate.key(license_name))

    async def list_all(self, license_name: str = "wide") -> list[str]:
        """All tags, as a client that follows each link collects them."""
        found: list[str] = []
        end = "tags/list"
        for _ in range(20):
            answer = await self.get(end, license_name)
            assert answer.status == 200, answer.body
            found += json.loads(answer.body)["tags"]
            end = answer.headers.get("Link", "").partition(">")[0].removeprefix("<")
            if not end:
                return found
        raise AssertionError("the list has no end")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with ScriptedRegistry() as upstream:
        for tag in TAGS:
            await upstream.push(REPOSITORY, tag, image(f"lists-{tag}"))
        await upstream.push(REPOSITORY, "1.9.0", SUBJECT)
        await upstream.push(REPOSITORY, None, SIGNATURE)
        documents = [registry("upstream", upstream.host), license_("wide"), NARROW]
        async with running(tmp_path / "resources", *documents) as gate:
            yield World(gate, upstream)


def pages(link: Callable[[int], str]) -> Callable[[Request, Reply], Reply]:
    """Pages of two tags. Only the exact query of the link to a page leads to it; any other query is page one."""
    places = {next_query([link(place)]): place for place in range(2, len(TAGS), 2)}

    def answer(request: Request, _: Reply) -> Reply:
        place = places.get(request.target.partition("?")[2], 0)
        more = {"Link": link(place + 2)} if place + 2 < len(TAGS) else {}
        return document({"name": REPOSITORY, "tags": TAGS[place : place + 2]}, more)

    return answer


def shows(listed: dict[str, list[str]], **headers: str) -> Callable[[Request, Reply], Reply]:
    return lambda request, right: document(listed, headers)


def link_to(query: str) -> Callable[[int], str]:
    return lambda place: f'</v2/{REPOSITORY}/tags/list?{query.replace("PLACE", str(place))}>; rel="next"'


LINKS: dict[str, Callable[[int], str]] = {
    # distribution escapes the last tag (registry/handlers/tags.go); others put their cursor there, escaped or raw.
    "escaped": link_to("last=a%7Cb%2CPLACE%3B%25&n=2"),
    "raw": link_to("last=a|b,PLACE;%25"),
    # AWS's own pagination token is opaque and longer than 512 characters.
    "nextToken": link_to("nextToken=" + "A1%2Bz" * 150 + "PLACE%3D%3D&n=2"),
    # Quay: endpoints/v2/__init__.py, "next_page".
    "next_page": link_to("n=2&next_page=gAAAA-PLACE"),
    "marker": link_to("marker=PLACE"),
    # RFC 8288, section 3: several links in one field, with further parameters and without quotes.
    "page": lambda place: f'</v2/x?page=1>; rel="prev", </v2/x?page={place}>; title="a, b"; rel=next',
}


@pytest.mark.parametrize("kind", LINKS)
@pytest.mark.parametrize("license_name", ["wide", "narrow"])
async def test_a_client_that_follows_links_gets_every_tag_once(world: World, kind: str, license_name: str) -> None:
    world.upstream.on("GET", "/tags/list", pages(LINKS[kind]))
    assert await world.list_all(license_name) == TAGS


@pytest.mark.parametrize("kind", LINKS)
async def test_the_proof_of_a_digest_follows_the_same_links(world: World, kind: str) -> None:
    world.upstream.on("GET", "/tags/list", pages(LINKS[kind]))
    last = image(f"lists-{TAGS[-1]}")
    assert (await world.get(f"manifests/{last.digest}", "narrow")).status == 200


async def test_a_list_whose_cursor_repeats_ends_the_proof(world: World) -> None:
    world.upstream.on("GET", "/tags/list", faults.header("Link", LINKS["marker"](2)))
    assert (await world.get(f"manifests/sha256:{'0' * 64}", "narrow")).fault == "NotEntitled"
    assert len(world.upstream.received("GET", "/tags/list")) == 2


async def test_a_cursor_beyond_the_bound_is_a_fault_and_no_short_list(world: World) -> None:
    world.upstream.on("GET", "/tags/list", faults.header("Link", link_to("last=" + "x" * 5000)(0)))
    assert (await world.get("tags/list")).fault == "UpstreamProtocol"


async def test_a_cursor_of_a_kilobyte_is_no_reason_to_end_a_list(world: World) -> None:
    world.upstream.on("GET", "/tags/list", faults.header("Link", link_to("last=" + "x" * 1500)(0)))
    assert "x" * 1500 in (await world.get("tags/list")).headers["Link"]


async def test_a_page_that_ignores_n_is_cut_and_its_own_next_page_is_not_lost(world: World) -> None:
    # distribution 2 ignores n and last (registry/handlers/tags.go of 2.8).
    world.upstream.on("GET", "marker=3", shows({"tags": TAGS[3:]}))
    world.upstream.on("GET", "/tags/list", shows({"tags": TAGS[:3]}, Link=LINKS["marker"](3)))
    found: list[str] = []
    end = "tags/list?n=2"
    while end:
        answer = await world.get(end)
        found += json.loads(answer.body)["tags"]
        end = answer.headers.get("Link", "").partition(">")[0].removeprefix("<")
    assert found == TAGS


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, b""),
        (404, b"404 page not found"),
        (405, b'{"errors":[{"code":"UNSUPPORTED","message":"The operation is unsupported."}]}'),
        # Artifactory (go-containerregistry#1962, #2026).
        (406, b'{"errors":[{"code":"UNSUPPORTED","message":"not acceptable"}]}'),
        (410, b""),
        (501, b"not implemented"),
        # A web application that answers each unknown path with its page, such as Nexus's.
        (200, b"<!DOCTYPE html><html></html>"),
        (200, b"{}"),
    ],
)
async def test_an_upstream_without_the_referrers_api_is_asked_for_the_tag(
    world: World, status: int, body: bytes
) -> None:
    await world.upstream.push(REPOSITORY, referrers_tag(SUBJECT.digest), referrers_index([SIGNATURE]))
    world.upstream.on("GET", "/referrers/", faults.answer(status, body, {"Content-Type": "text/html"}))
    for license_name in ("wide", "narrow"):
        for _ in range(8):
            answer = await world.get(f"referrers/{SUBJECT.digest}", license_name)
            assert answer.status == 200, answer.body
            assert [each["digest"] for each in json.loads(answer.body)["manifests"]] == [SIGNATURE.digest]
        assert (await world.get(f"manifests/{SIGNATURE.digest}", license_name)).status == 200
    assert (await world.get("manifests/1.0.0")).status == 200, "no circuit breaker opens"


async def test_a_subject_without_a_referrers_tag_has_no_referrers(world: World) -> None:
    world.upstream.on("GET", "/referrers/", faults.answer(406))
    answer = await world.get(f"referrers/{SUBJECT.digest}")
    assert (answer.status, json.loads(answer.body)["manifests"]) == (200, [])


def test_the_referrers_tag_is_cut_as_the_spec_says() -> None:
    assert referrers_tag("sha512:" + "a" * 128) == "sha512-" + "a" * 64
    assert referrers_tag("sha256:" + "b" * 64) == "sha256-" + "b" * 64


HIDDEN = [f"0.{number}.0-secret" for number in range(5)] + ["1.3.0-rc-secret", "2.0.0-secret"]
RULED = license_("ruled", {"repositories": ["rules/*"], "tags": {"semver": ">=1.0.0 <2"}})


@contextlib.asynccontextmanager
async def ruled(directory: Path) -> AsyncIterator[World]:
    """More tags outside the rule than within it, before, between and behind them."""
    async with ScriptedRegistry() as upstream:
        for tag in (*TAGS, *HIDDEN):
            await upstream.push(REPOSITORY, tag, image("ruled"))
        async with running(directory / "resources", registry("upstream", upstream.host), RULED) as gate:
            yield World(gate, upstream)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8])
async def test_pages_under_a_rule_are_full_and_their_links_say_nothing_of_other_tags(tmp_path: Path, size: int) -> None:
    async with ruled(tmp_path) as world:
        sizes, found, links = [], [], []
        end = f"tags/list?n={size}"
        while end:
            answer = await world.get(end, "ruled")
            tags = json.loads(answer.body)["tags"]
            sizes.append(len(tags))
            found += tags
            end = answer.headers.get("Link", "").partition(">")[0].removeprefix("<")
            links += [end] if end else []
        assert found == TAGS
        assert all(each == size for each in sizes[:-1])
        for link in links:
            query = parse_qs(link.partition("?")[2])
            assert query.keys() == {"n", "cursor"}
            plain = base64.urlsafe_b64decode(query["cursor"][0] + "==")
            assert b"secret" not in plain
            assert b"last" not in plain
        assert len({len(link) for link in links}) <= 1, "the length tells nothing either"


async def test_a_link_under_a_rule_stands_only_where_another_allowed_tag_follows(tmp_path: Path) -> None:
    async with ruled(tmp_path) as world:
        assert "Link" not in (await world.get(f"tags/list?n={len(TAGS)}", "ruled")).headers
        assert "Link" not in (await world.get("tags/list?n=0", "ruled")).headers
        assert json.loads((await world.get("tags/list?n=0", "ruled")).body)["tags"] == []


@pytest.mark.parametrize(
    "last", ["0.1.0-secret", "0.1.0-wrong", "1.3.0-rc-secret", "1.3.0-zz", "2.0.0-secret", "%00", "1.2.0"]
)
async def test_last_cannot_be_used_to_walk_or_to_guess_hidden_names(tmp_path: Path, last: str) -> None:
    async with ruled(tmp_path) as world:
        answer = await world.get(f"tags/list?n=1000&last={last}", "ruled")
        assert json.loads(answer.body)["tags"] == [tag for tag in TAGS if tag > unquote_plus(last)]
        assert {asked.target.partition("?")[2] for asked in world.upstream.received("GET", "/tags/list")} == {"n=1000"}


async def test_a_cursor_is_good_for_its_own_list_alone(tmp_path: Path) -> None:
    async with ruled(tmp_path) as world:
        await world.upstream.push("rules/other", "1.0.0", image("other"))
        link = (await world.get("tags/list?n=1", "ruled")).headers["Link"].partition(">")[0].removeprefix("<")
        assert json.loads((await world.get(link, "ruled")).body)["tags"] == [TAGS[1]]
        changed = link[:-5] + ("A" if link[-5] != "A" else "B") + link[-4:]
        for wrong in (link.replace(REPOSITORY, "rules/other"), changed, link[:-40], f"{BASE}/tags/list?cursor=n%3D1"):
            assert (await world.get(wrong, "ruled")).fault == "PathInvalid"


async def test_a_cursor_goes_on_where_the_upstream_pages_in_its_own_way(tmp_path: Path) -> None:
    async with ruled(tmp_path) as world:
        world.upstream.on("GET", "/tags/list", pages(LINKS["nextToken"]))
        found: list[str] = []
        end = "tags/list?n=3"
        while end:
            answer = await world.get(end, "ruled")
            found += json.loads(answer.body)["tags"]
            end = answer.headers.get("Link", "").partition(">")[0].removeprefix("<")
        assert found == TAGS


@pytest.mark.parametrize("license_name", ["wide", "narrow"])
async def test_a_tag_outside_the_grammar_is_not_relayed(world: World, license_name: str) -> None:
    broken = ["1.\x1b[2J", "1.\r\nX-A: b", "1.\u202e", "1.a/b", "", "-1", "1." + "x" * 128]
    world.upstream.on("GET", "/tags/list", shows({"tags": [*broken, *TAGS]}))
    answer = await world.get("tags/list", license_name)
    assert json.loads(answer.body)["tags"] == TAGS
