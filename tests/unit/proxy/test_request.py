"""A path is taken apart by the spec's grammar, and nothing else gets through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pullgate.faults import DigestInvalid, Fault, PathInvalid, ReadOnly, ReferenceInvalid
from pullgate_proxy.request.parse import Kind, parse_request

DIGEST = "sha256:" + "a" * 64


def test_a_manifest_request_is_taken_apart_at_its_last_keyword() -> None:
    request = parse_request("GET", "/v2/proxy/my-app/quay.io/manifests/tags/manifests/1.0")
    assert request.kind is Kind.MANIFESTS
    assert request.repository == "proxy/my-app/quay.io/manifests/tags"
    assert request.reference == "1.0"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/v2/", Kind.PING),
        ("/v2", Kind.PING),
        ("/token?service=x", Kind.TOKEN),
        (f"/v2/a/b/blobs/{DIGEST}", Kind.BLOBS),
        (f"/v2/a/b/manifests/{DIGEST}", Kind.MANIFESTS),
        ("/v2/a/b/tags/list", Kind.TAGS),
        (f"/v2/a/b/referrers/{DIGEST}", Kind.REFERRERS),
    ],
)
def test_each_pull_path_of_the_spec_has_its_kind(path: str, kind: Kind) -> None:
    assert parse_request("GET", path).kind is kind


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1/a",
        "/v2/_catalog",
        "/v2/a/b/tags/other",
        "/v2/a//b/manifests/1",
        "/v2/a/../b/manifests/1",
        "/v2/a/./b/manifests/1",
        "/v2/a%2fb/manifests/1",
        "/v2/a/%2e%2e/b/manifests/1",
        "/v2/A/manifests/1",
        "/v2/a/manifests/",
        "/v2/a/manifests/1/",
        "/v2//manifests/1",
        "/v2/a b/manifests/1",
        "/v2/a\\b/manifests/1",
        "/v2/" + "a/" * 600 + "manifests/1",
    ],
)
def test_a_path_outside_the_grammar_is_no_image(path: str) -> None:
    with pytest.raises(PathInvalid):
        parse_request("GET", path)


@pytest.mark.parametrize("digest", ["sha256:abc", "sha256:" + "A" * 64, "sha256:" + "a" * 65, "md5:" + "a" * 32, "x"])
def test_a_blob_needs_a_digest_of_the_right_form(digest: str) -> None:
    with pytest.raises(DigestInvalid):
        parse_request("GET", f"/v2/a/blobs/{digest}")


def test_a_tag_that_breaks_the_grammar_is_no_reference() -> None:
    with pytest.raises(ReferenceInvalid):
        parse_request("GET", "/v2/a/manifests/.hidden")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/v2/a/manifests/1"),
        ("DELETE", f"/v2/a/blobs/{DIGEST}"),
        ("POST", "/v2/a/blobs/uploads/"),
        ("PATCH", "/v2/a/blobs/uploads/123"),
        ("GET", "/v2/a/blobs/uploads/123"),
        ("TRACE", "/v2/"),
    ],
)
def test_whatever_writes_is_refused_by_name(method: str, path: str) -> None:
    with pytest.raises(ReadOnly):
        parse_request(method, path)


def test_a_lists_count_is_capped_and_the_proxys_own_parameter_stays_here() -> None:
    request = parse_request("GET", "/v2/a/tags/list?n=999999&last=1.0&%6e=5000&n=&ns=quay.io")
    assert request.query == "n=1000&last=1.0&n=1000"
    assert request.ns == "quay.io"


@pytest.mark.parametrize(
    "query",
    [
        "n=100&last=a|b,c;d%25e%2Cf",
        "nextToken=AAAA%2Bbb%3D%3D&maxResults=100",
        "marker=1.0+2&page=3",
        "next_page=" + "x" * 4000,
        'cursor={"a":[1]}^`$',
        "artifactType=application/vnd.dev.cosign.simplesigning.v1%2Bjson",
    ],
)
def test_a_cursor_reaches_the_upstream_as_it_was_sent(query: str) -> None:
    assert parse_request("GET", f"/v2/a/tags/list?{query}").query == query
    assert parse_request("GET", f"/v2/a/manifests/1?{query}").query == ""


@pytest.mark.parametrize("query", ["last=a<b", "last=a>", "last=a#b", "last=a b", "last=\xe4", "last=" + "x" * 5000])
def test_a_query_that_breaks_a_link_or_a_bound_is_refused(query: str) -> None:
    with pytest.raises(PathInvalid):
        parse_request("GET", f"/v2/a/tags/list?{query}")


@pytest.mark.parametrize("query", ["n=-1", "n=x", "n=99999999999", "&".join(f"a{i}=1" for i in range(50))])
def test_a_list_query_that_makes_no_sense_is_refused(query: str) -> None:
    with pytest.raises(PathInvalid):
        parse_request("GET", f"/v2/a/tags/list?{query}")


@given(st.sampled_from(["GET", "HEAD", "PUT", "OPTIONS"]), st.text(max_size=200))
def test_any_text_ends_in_a_request_or_a_fault(method: str, path: str) -> None:
    try:
        request = parse_request(method, path)
    except Fault:
        return
    assert request.method in {"GET", "HEAD"} or request.kind is Kind.TOKEN


@given(st.text(alphabet="/.%_-aA0:@2fe\\ ", max_size=60))
def test_an_accepted_repository_holds_no_escape_and_no_dot_segment(name: str) -> None:
    try:
        request = parse_request("GET", f"/v2/{name}/manifests/1")
    except Fault:
        return
    assert "%" not in request.repository
    assert "//" not in request.repository
    assert not {".", "..", ""} & set(request.repository.split("/"))
