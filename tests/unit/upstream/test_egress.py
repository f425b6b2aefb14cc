"""HTTPS_PROXY, HTTP_PROXY and NO_PROXY mean what they mean to Go's clients (x/net/http/httpproxy)."""

from __future__ import annotations

import pytest
from yarl import URL

from pullgate.upstream.egress import Egress, InvalidProxy

PROXY = "http://proxy.corp.example:3128"


@pytest.mark.parametrize(
    ("no_proxy", "url", "direct"),
    [
        ("", "https://quay.io/v2/", False),
        ("*", "https://quay.io/v2/", True),
        ("quay.io", "https://quay.io/v2/", True),
        ("quay.io", "https://cdn.quay.io/v2/", True),
        ("quay.io", "https://notquay.io/v2/", False),
        (".quay.io", "https://quay.io/v2/", False),
        (".quay.io", "https://cdn.quay.io/v2/", True),
        ("*.quay.io", "https://cdn.quay.io/v2/", True),
        ("QUAY.io", "https://quay.IO/v2/", True),
        ("quay.io:5000", "https://quay.io/v2/", False),
        ("quay.io:443", "https://quay.io/v2/", True),
        ("a.example, .svc,10.0.0.0/8", "https://harbor.infra.svc/v2/", True),
        ("10.0.0.0/8", "https://10.1.2.3:5000/v2/", True),
        ("10.0.0.0/8", "https://11.1.2.3:5000/v2/", False),
        ("10.1.2.3", "https://10.1.2.3:5000/v2/", True),
        ("10.1.2.3:443", "https://10.1.2.3:5000/v2/", False),
        ("fd00::/8", "https://[fd00::1]/v2/", True),
        ("[fd00::1]:443", "https://[fd00::1]/v2/", True),
        ("no/network, :, [", "https://10.1.2.3/v2/", False),
        ("", "https://localhost:5000/v2/", True),
        ("", "https://127.0.0.2:5000/v2/", True),
        ("", "https://[::1]:5000/v2/", True),
    ],
)
def test_no_proxy_names_what_is_reached_directly(no_proxy: str, url: str, direct: bool) -> None:
    egress = Egress({"HTTPS_PROXY": PROXY, "no_proxy": no_proxy})
    assert (egress.proxy_for(URL(url)) is None) == direct


def test_each_scheme_has_its_own_variable_and_upper_case_wins() -> None:
    environ = {"https_proxy": "http://low:1", "HTTPS_PROXY": "proxy.example:3128", "http_proxy": "http://plain:8080"}
    egress = Egress(environ)
    secure, plain = egress.proxy_for(URL("https://quay.io")), egress.proxy_for(URL("http://quay.io"))
    assert secure is not None
    assert plain is not None
    assert (secure.name, plain.name) == ("proxy.example:3128", "plain:8080")
    assert Egress({"HTTP_PROXY": PROXY}).proxy_for(URL("https://quay.io")) is None


def test_a_login_is_sent_and_stands_in_no_text() -> None:
    proxy = Egress({"HTTPS_PROXY": "http://puller:s3cr%40t@proxy.example:3128"}).proxy_for(URL("https://quay.io"))
    assert proxy is not None
    assert proxy.authorization == "Basic cHVsbGVyOnMzY3JAdA=="  # puller:s3cr@t
    assert "s3cr" not in repr(proxy) + proxy.name + str(proxy.url)
    assert proxy.authorization not in repr(proxy)


@pytest.mark.parametrize(
    "value", ["socks5://a:s3cret@proxy:1080", "http://:s3cret@", "http://proxy:s3cret", "http://["]
)
def test_a_value_that_is_no_proxy_is_named_by_its_variable_alone(value: str) -> None:
    with pytest.raises(InvalidProxy, match="HTTPS_PROXY names no proxy") as caught:
        Egress({"HTTPS_PROXY": value}).proxy_for(URL("https://quay.io"))
    assert "s3cret" not in str(caught.value)
