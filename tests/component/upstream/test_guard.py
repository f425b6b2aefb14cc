"""Realms and redirects: an upstream cannot make the client go, or send a credential, to where it should not."""

from __future__ import annotations

import pytest
from aiohttp import web
from yarl import URL

from pullgate import faults
from pullgate.policy.tenancy import EVERYWHERE, Networks, parse_networks
from pullgate.upstream.client import Upstream
from pullgate.upstream.config import UpstreamConfig
from pullgate.upstream.guard import Guard, origin_of
from pullgate.upstream.request import UpstreamRequest
from tests.component.upstream.stage import BASIC, CREDENTIALS, Reply, Stage, bearer, token_reply

BLOB = UpstreamRequest("GET", "a/b", "blobs", "sha256:" + "0" * 64)
MANIFEST = UpstreamRequest("GET", "a/b", "manifests", "1")
OK = Reply(200, b"{}", {"Content-Type": "application/vnd.oci.image.manifest.v1+json"})
BASIC_CHALLENGE = Reply(401, b"", {"WWW-Authenticate": 'Basic realm="x"'})


def redirect(location: str, status: int = 307) -> Reply:
    return Reply(status, b"", {"Location": location})


def guard(
    *,
    plain_http: bool = False,
    realm_hosts: frozenset[str] = frozenset(),
    networks: Networks = (),
    allow_private: bool = False,
) -> Guard:
    return Guard(
        UpstreamConfig(
            "my-app/hub",
            "docker.io",
            "registry-1.docker.io",
            plain_http=plain_http,
            realm_hosts=realm_hosts,
            networks=networks,
            allow_private=allow_private,
        )
    )


@pytest.mark.parametrize(("scheme", "port"), [("https", 443), ("http", 80)])
def test_a_default_port_that_is_written_out_makes_no_other_origin(scheme: str, port: int) -> None:
    host = f"registry.example:{port}"
    registry = Guard(UpstreamConfig("my-app/registry", host, host, plain_http=scheme == "http"))
    for url in (f"{scheme}://registry.example/v2/", f"{scheme}://{host}/v2/"):
        assert origin_of(URL(url)) == registry.origin


@pytest.mark.parametrize(
    "realm",
    ["https://auth.docker.io/token", "https://registry-1.docker.io/token", "https://registry-1.docker.io:8443/token"],
)
def test_a_realm_of_the_same_owner_is_taken(realm: str) -> None:
    assert str(guard().realm(realm)) == realm


@pytest.mark.parametrize(
    "realm",
    [
        "https://evil.example/token",
        "https://docker.io.evil.example/token",
        "https://evildocker.io/token",
        "https://registry-1.docker.io@evil.example/token",
        "https://user:pass@auth.docker.io/token",
        "http://auth.docker.io/token",
        "http://registry-1.docker.io/token",
        "https://127.0.0.1/token",
        "https://[::1]/token",
        "https://2130706433/token",
        "https://0x7f.0.0.1/token",
        "https://169.254.169.254/latest/meta-data",
        "https://io/token",
        "//auth.docker.io/token",
        "/token",
        "file:///etc/passwd",
        "ftp://auth.docker.io/token",
        "https://auth.docker.io/to ken",
        "https://auth.docker.io/\r\nX: y",
        "https://auth.docker.io:99999/",
        "https://[::1/",
        "https:///token",
        "",
        "https://auth.docker.io/" + "x" * 20_000,
    ],
)
def test_any_other_realm_is_refused(realm: str) -> None:
    with pytest.raises(faults.RealmRefused):
        guard().realm(realm)


def test_a_shared_domain_makes_no_owner() -> None:
    pages = Guard(UpstreamConfig("a/b", "one.github.io", "one.github.io"))
    with pytest.raises(faults.RealmRefused):
        pages.realm("https://other.github.io/token")


@pytest.mark.parametrize(
    ("own", "other"),
    [
        ("acme.azurecr.io", "evil.azurecr.io"),
        ("1.dkr.ecr.eu-central-1.amazonaws.com", "evil.s3.amazonaws.com"),
        ("acme.jfrog.io", "evil.jfrog.io"),
        ("europe-west1-docker.pkg.dev", "us-docker.pkg.dev"),
    ],
)
def test_tenants_of_a_registry_service_are_several_owners(own: str, other: str) -> None:
    tenant = Guard(UpstreamConfig("a/b", own, own))
    assert tenant.realm(f"https://{own}/oauth2/token").host == own
    with pytest.raises(faults.RealmRefused):
        tenant.realm(f"https://{other}/token")


def test_numbers_of_addresses_make_no_owner() -> None:
    by_address = Guard(UpstreamConfig("a/b", "93.184.215.14", "93.184.215.14"))
    with pytest.raises(faults.RealmRefused):
        by_address.realm("https://8.8.215.14/token")


def test_a_metadata_service_is_no_token_server_even_where_it_is_listed() -> None:
    with pytest.raises(faults.RealmRefused):
        guard(realm_hosts=frozenset({"169.254.169.254"})).realm("https://169.254.169.254/token")


def test_a_listed_realm_is_taken_by_https_only_unless_the_registry_is_plain() -> None:
    listed = frozenset({"tokens.example", "other.example:8443"})
    assert guard(realm_hosts=listed).realm("https://tokens.example/t")
    assert guard(realm_hosts=listed).realm("https://other.example:8443/t")
    assert guard(realm_hosts=listed, plain_http=True).realm("http://tokens.example/t")
    for strict, realm in (
        (True, "http://tokens.example/t"),
        (True, "https://other.example/t"),
        (False, "http://auth.docker.io/t"),
    ):
        with pytest.raises(faults.RealmRefused):
            guard(realm_hosts=listed, plain_http=not strict).realm(realm)


PRIVATE = [
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "127.0.0.1",
    "100.64.0.1",
    "255.255.255.255",
    "::1",
    "fd00::1",
    "::ffff:127.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::1",
    "::127.0.0.1",
    "::ffff:0:7f00:1",
    "fec0::1",
    "5f00::1",
]
NEVER = [
    "0.0.0.0",
    "169.254.169.254",
    "169.254.170.23",
    "168.63.129.16",
    "100.100.100.200",
    "224.0.0.1",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "ff02::1",
]
OWN, FOREIGN = "registry-1.docker.io", "cdn.example"


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_is_dialled_by_the_administrators_word_alone(address: str) -> None:
    for allow_private in (False, True):
        assert not guard(allow_private=allow_private).may_dial(OWN, address)
        assert not guard(allow_private=allow_private).may_dial(FOREIGN, address)
        elsewhere = guard(networks=parse_networks("10.99.0.0/16"), allow_private=allow_private)
        assert not elsewhere.may_dial(OWN, address)
        assert not elsewhere.may_dial(FOREIGN, address)
        assert guard(networks=EVERYWHERE, allow_private=allow_private).may_dial("REGISTRY-1.docker.io.", address)
    assert not guard(networks=EVERYWHERE).may_dial(FOREIGN, address)
    assert guard(networks=EVERYWHERE, allow_private=True).may_dial(FOREIGN, address)


@pytest.mark.parametrize("address", NEVER)
@pytest.mark.parametrize("host", [OWN, FOREIGN])
def test_link_local_and_metadata_addresses_are_dialled_by_no_switch(host: str, address: str) -> None:
    assert not guard(networks=EVERYWHERE, allow_private=True).may_dial(host, address)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "127.8.8.8"])
def test_the_star_of_private_networks_is_no_loopback(address: str) -> None:
    assert not guard(networks=parse_networks("*")).may_dial(OWN, address)
    assert guard(networks=parse_networks("* 127.0.0.0/8 ::1")).may_dial(OWN, address)


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:4700::1111", "64:ff9b::5db8:d70e"])
def test_a_public_address_is_dialled(address: str) -> None:
    assert guard().may_dial(FOREIGN, address)


async def test_credentials_are_not_sent_to_a_realm_of_the_upstreams_choice() -> None:
    async with Stage(lambda _: token_reply(), bind="127.0.0.2") as thief:
        async with Stage(lambda _: bearer(thief.url + "/token")) as stage:
            for allow_private in (False, True):
                config = stage.config(credentials=CREDENTIALS, allow_private=allow_private)
                async with Upstream(config) as upstream:
                    with pytest.raises(faults.RealmRefused, match="a token server that Registry my-app/stage does not"):
                        await upstream.send(MANIFEST)
        assert thief.asked == []


async def test_a_listed_realm_is_not_dialled_at_a_private_address_unless_allowed() -> None:
    async with Stage(lambda _: token_reply()) as tokens:
        realm = f"http://localhost:{tokens.port}/token"

        def script(request: web.Request) -> Reply:
            return OK if "Authorization" in request.headers else bearer(realm)

        async with Stage(script) as stage:
            hosts = frozenset({"localhost"})
            async with Upstream(stage.config(credentials=CREDENTIALS, realm_hosts=hosts)) as upstream:
                with pytest.raises(faults.RealmRefused):
                    await upstream.send(MANIFEST)
            assert tokens.asked == []
            config = stage.config(credentials=CREDENTIALS, realm_hosts=hosts, allow_private=True)
            async with Upstream(config) as upstream:
                (await upstream.send(MANIFEST)).release()
            assert tokens.asked[0].headers["Authorization"] == BASIC


@pytest.mark.parametrize("host", ["127.0.0.2", "localhost", "[::ffff:7f00:1]", "0x7f.0.0.1", "2130706433", "127.1"])
async def test_a_redirect_to_a_private_address_is_refused_by_literal_and_after_dns(host: str) -> None:
    async with Stage(lambda _: OK, bind="127.0.0.2") as inner:
        async with Stage(lambda _: redirect(f"http://{host}:{inner.port}/x")) as stage:
            async with Upstream(stage.config()) as upstream:
                with pytest.raises((faults.RedirectRefused, faults.UpstreamProtocol)):
                    await upstream.send(BLOB)
        assert inner.asked == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_authorization_does_not_follow_a_redirect_to_another_origin(status: int) -> None:
    async with Stage(lambda _: OK, bind="127.0.0.2") as cdn:

        def script(request: web.Request) -> Reply:
            if "Authorization" not in request.headers:
                return BASIC_CHALLENGE
            return redirect(cdn.url + "/signed?sig=a%2Bb%3D", status)

        async with Stage(script) as stage:
            async with Upstream(stage.config(credentials=CREDENTIALS, allow_private=True)) as upstream:
                (await upstream.send(BLOB)).release()
        assert [asked.path for asked in cdn.asked] == ["/signed?sig=a%2Bb%3D"]
        assert "Authorization" not in cdn.asked[0].headers
        assert "Cookie" not in cdn.asked[0].headers


async def test_another_port_is_another_origin_and_authorization_once_dropped_stays_dropped() -> None:
    def back(_: web.Request) -> Reply:
        return redirect(stage.url + "/back")

    async with Stage(back) as other:

        def script(request: web.Request) -> Reply:
            if request.path == "/back":
                return OK
            return redirect(other.url + "/x") if "Authorization" in request.headers else BASIC_CHALLENGE

        async with Stage(script) as stage, Upstream(stage.config(credentials=CREDENTIALS)) as upstream:
            (await upstream.send(BLOB)).release()
            assert "Authorization" not in other.asked[0].headers
            assert "Authorization" not in stage.asked[-1].headers


async def test_authorization_stays_on_a_redirect_within_the_origin() -> None:
    def script(request: web.Request) -> Reply:
        if "Authorization" not in request.headers:
            return BASIC_CHALLENGE
        return OK if request.path == "/storage/x" else redirect("/storage/x")

    async with Stage(script) as stage, Upstream(stage.config(credentials=CREDENTIALS)) as upstream:
        (await upstream.send(BLOB)).release()
        assert stage.asked[-1].headers["Authorization"] == BASIC


async def test_a_challenge_of_a_redirects_target_is_not_answered() -> None:
    async with Stage(lambda _: BASIC_CHALLENGE, bind="127.0.0.2") as cdn:
        async with Stage(lambda _: redirect(cdn.url + "/x")) as stage:
            async with Upstream(stage.config(credentials=CREDENTIALS, allow_private=True)) as upstream:
                with pytest.raises(faults.UpstreamForbidden, match="answered 401"):
                    await upstream.send(BLOB)
        assert [asked.headers.get("Authorization") for asked in cdn.asked] == [None]


async def test_cookies_are_never_kept() -> None:
    async with Stage(lambda _: Reply(200, b"{}", {"Set-Cookie": "a=b; Path=/"})) as stage:
        async with Upstream(stage.config()) as upstream:
            for _ in range(2):
                (await upstream.send(MANIFEST)).release()
        assert "Cookie" not in stage.asked[1].headers


async def test_redirects_end_after_five() -> None:
    async with Stage(lambda _: redirect("/again")) as stage, Upstream(stage.config()) as upstream:
        with pytest.raises(faults.RedirectRefused, match="more than 5"):
            await upstream.send(BLOB)
        assert len(stage.asked) == 6


@pytest.mark.parametrize(
    "location",
    [
        "http://cdn.example/x",
        "ftp://cdn.example/x",
        "https://u:p@cdn.example/x",
        "https://cdn.example/a b",
        "",
        "https://",
    ],
)
def test_a_redirect_that_is_not_https_or_not_well_formed_is_refused(location: str) -> None:
    origin = guard().origin
    with pytest.raises(faults.RedirectRefused):
        guard().redirect(origin, location)


async def test_a_signed_url_is_handed_out_as_it_is_when_redirects_are_not_followed() -> None:
    request = UpstreamRequest("GET", "a/b", "blobs", BLOB.reference, follow_redirects=False)
    signed = "https://cdn.example/x%2Fy?sig=a%2Bb%3D&e=1+2"

    def script(asked: web.Request) -> Reply:
        return redirect(signed) if asked.path == "/here" else redirect("/here")

    async with Stage(script) as stage, Upstream(stage.config()) as upstream:
        response = await upstream.send(request)
        response.release()
        assert str(response.location) == signed
        # A redirect within the upstream needs its credentials: it is followed.
        assert [asked.path for asked in stage.asked][-1] == "/here"


async def test_a_redirect_that_is_handed_out_is_guarded_too() -> None:
    request = UpstreamRequest("GET", "a/b", "blobs", BLOB.reference, follow_redirects=False)
    async with Stage(lambda _: redirect("http://169.254.169.254/latest")) as stage:
        async with Upstream(stage.config()) as upstream:
            with pytest.raises(faults.RedirectRefused):
                await upstream.send(request)


@pytest.mark.parametrize("host", ["169.254.169.254", "[fd00:ec2::254]"])
async def test_a_metadata_service_is_no_registry(host: str) -> None:
    config = UpstreamConfig("a/b", "registry.test", host, plain_http=True, networks=EVERYWHERE, allow_private=True)
    async with Upstream(config) as upstream:
        with pytest.raises(faults.UpstreamUnreachable, match="link-local"):
            await upstream.send(MANIFEST)


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
async def test_a_private_host_that_nobody_allowed_is_not_asked_and_the_administrator_is_named(name: str) -> None:
    async with Stage(lambda _: OK) as stage:
        host = f"{name}:{stage.port}"
        config = UpstreamConfig("a/b", "registry.test", host, plain_http=True, allow_private=True)
        async with Upstream(config) as upstream:
            with pytest.raises(faults.UpstreamUnreachable, match="its address is private") as caught:
                await upstream.send(MANIFEST)
        assert stage.asked == []
        assert "pullgate.dev/private-networks" in caught.value.step


async def test_no_switch_leads_a_redirect_to_a_metadata_service() -> None:
    async with Stage(lambda _: redirect("http://169.254.169.254/latest/meta-data")) as stage:
        async with Upstream(stage.config(networks=EVERYWHERE, allow_private=True)) as upstream:
            with pytest.raises(faults.RedirectRefused):
                await upstream.send(BLOB)
