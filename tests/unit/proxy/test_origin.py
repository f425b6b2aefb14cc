"""X-Forwarded-* are believed from a trusted proxy only, and a realm tells nothing of the domains that there are."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from pullgate_proxy.request.origin import base_url, read_origin
from pullgate_proxy.settings import InvalidSettings, ProxySettings, parse_networks

OUTSIDE = ProxySettings(external_url="https://images.example.com", trusted_proxies=parse_networks(("10.0.0.0/8",)))


def headers(**fields: str) -> CIMultiDictProxy[str]:
    return CIMultiDictProxy(CIMultiDict({name.replace("_", "-"): value for name, value in fields.items()}))


def test_forwarded_headers_of_a_stranger_are_ignored() -> None:
    sent = headers(Host="a.example", X_Forwarded_Host="b.example", X_Forwarded_For="1.2.3.4", X_Request_Id="abcdefgh1")
    origin = read_origin(sent, "192.0.2.7", OUTSIDE)
    assert (origin.host, origin.client) == ("a.example", "192.0.2.7")
    assert origin.request_id != "abcdefgh1"


def test_forwarded_headers_of_a_trusted_proxy_are_believed() -> None:
    sent = headers(
        Host="a",
        X_Forwarded_Host="b.example:8443",
        X_Forwarded_For="6.6.6.6, 1.2.3.4, 10.1.1.1",
        X_Request_Id="abcdefgh1",
    )
    origin = read_origin(sent, "10.0.0.9", OUTSIDE)
    assert (origin.host, origin.name, origin.client) == ("b.example:8443", "b.example", "1.2.3.4")
    assert origin.request_id == "abcdefgh1"


@pytest.mark.parametrize(
    ("lines", "client"),
    [
        (["6.6.6.6", "1.2.3.4"], "1.2.3.4"),
        (["6.6.6.6, 7.7.7.7", "1.2.3.4, 10.1.1.1"], "1.2.3.4"),
        (["6.6.6.6", "1.2.3.4", "10.1.1.1"], "1.2.3.4"),
        (["6.6.6.6", "", "1.2.3.4,", ","], "1.2.3.4"),
        (["6.6.6.6", "10.1.1.1, 10.1.1.2"], "6.6.6.6"),
        (["6.6.6.6", "not an address"], "10.0.0.9"),
    ],
)
def test_several_lines_of_forwarded_for_are_one_list_that_is_counted_from_the_right(
    lines: list[str], client: str
) -> None:
    sent = CIMultiDictProxy(CIMultiDict([("X-Forwarded-For", line) for line in lines]))
    assert read_origin(sent, "10.0.0.9", OUTSIDE).client == client


def test_of_several_forwarded_hosts_the_nearest_counts_and_of_several_request_ids_none() -> None:
    fields = [("X-Forwarded-Host", "evil.example"), ("X-Forwarded-Host", "b.example")]
    fields += [("X-Request-Id", "abcdefgh1"), ("X-Request-Id", "abcdefgh2")]
    origin = read_origin(CIMultiDictProxy(CIMultiDict(fields)), "10.0.0.9", OUTSIDE)
    assert origin.host == "b.example"
    assert not origin.request_id.startswith("abcdefgh")


@pytest.mark.parametrize("host", ['a"b', "a b", "a\\b", "a/b", "x" * 300, "", "a,b"])
def test_a_host_that_is_none_is_not_used(host: str) -> None:
    origin = read_origin(headers(Host=host), "192.0.2.7", OUTSIDE)
    assert origin.host == ""
    assert base_url(origin, OUTSIDE) == "https://images.example.com"


@pytest.mark.parametrize(
    ("host", "base"),
    [
        ("images.example.com", "https://images.example.com"),
        ("images.myapp.com", "https://images.myapp.com"),
        ("images.myapp.com:8443", "https://images.myapp.com:8443"),
        ("held-by-nobody.example", "https://held-by-nobody.example"),
        ("localhost:8080", "http://localhost:8080"),
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
    ],
)
def test_the_realm_is_at_the_host_that_was_asked_if_it_could_be_a_custom_domain(host: str, base: str) -> None:
    """Held or not: the answer is a function of the host alone."""
    assert base_url(read_origin(headers(Host=host), "192.0.2.7", OUTSIDE), OUTSIDE) == base


@pytest.mark.parametrize(
    "host",
    [
        "10.0.0.7:8080",
        "[fd00::7]",
        "mirror:8080",
        "pullgate-proxy.pullgate-system.svc",
        "p.s.svc.cluster.local",
        "a..b",
    ],
)
def test_the_realm_of_a_mirror_inside_a_network_is_at_the_external_url(host: str) -> None:
    """It may speak plain HTTP there, and no Registry can claim such a name."""
    assert base_url(read_origin(headers(Host=host), "192.0.2.7", OUTSIDE), OUTSIDE) == "https://images.example.com"


@pytest.mark.parametrize("url", ["images.example.com", "ftp://x", "https://", "https://x/path"])
def test_an_external_url_that_is_none_is_refused_by_name(url: str) -> None:
    with pytest.raises(InvalidSettings, match="external URL"):
        ProxySettings(external_url=url)
