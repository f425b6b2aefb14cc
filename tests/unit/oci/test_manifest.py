"""A manifest names its parts, and a body that is no manifest is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pullgate.faults import DigestInvalid
from pullgate.oci.digest import digest_of, hasher, is_digest, parse_digest
from pullgate.oci.errors import decode_detail, decode_errors, encode_errors
from pullgate.oci.manifest import DESCRIPTOR_LIMIT, MANIFEST_LIMIT, OCI_INDEX, parse_manifest
from tests.support.images import DOCKER_SCHEMA2, artifact, helm_chart, image, index

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


@pytest.mark.parametrize("built", [image("a"), image("b", flavour=DOCKER_SCHEMA2), helm_chart("demo", "1.0.0")])
def test_a_manifest_names_its_config_and_layers(built) -> None:  # type: ignore[no-untyped-def]
    manifest = parse_manifest(built.manifest, built.media_type)
    assert set(manifest.blobs) == set(built.blobs)
    assert manifest.children == ()
    assert not manifest.is_index


def test_an_index_names_its_manifests_with_their_platforms() -> None:
    built = index([image("a"), image("b", architecture="arm64")])
    manifest = parse_manifest(built.manifest, None)
    assert manifest.children == tuple(child.digest for child in built.children)
    assert [str(platform) for platform in manifest.platforms] == ["linux/amd64", "linux/arm64"]
    assert manifest.is_index


def test_a_signature_names_what_it_is_about() -> None:
    subject = image("a")
    assert parse_manifest(artifact(subject).manifest).subject == subject.digest


def test_a_manifest_names_its_config_and_the_size_of_each_blob() -> None:
    built = image("a")
    manifest = parse_manifest(built.manifest)
    assert manifest.config == built.config
    assert dict(zip(manifest.blobs, manifest.sizes, strict=True)) == {d: len(blob) for d, blob in built.blobs.items()}
    assert manifest.foreign == frozenset()


@pytest.mark.parametrize("size", [None, -1, "5", True, 1.5])
def test_a_size_that_is_none_is_not_known(size: object) -> None:
    body = json.dumps({"layers": [{"digest": A, "size": size}]}).encode()
    assert parse_manifest(body).sizes == (None,)


@pytest.mark.parametrize(
    "media_type",
    [
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    ],
)
def test_a_layer_that_lies_elsewhere_is_told(media_type: str) -> None:
    body = json.dumps({"layers": [{"digest": A, "mediaType": media_type}, {"digest": B}]}).encode()
    assert parse_manifest(body).foreign == {A}


def test_schema_1_names_its_layers() -> None:
    body = json.dumps({"schemaVersion": 1, "fsLayers": [{"blobSum": A}, {"blobSum": A}, {"blobSum": B}]}).encode()
    assert parse_manifest(body).blobs == (A, B)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"not json",
        b"[" * 100_000,
        json.dumps({"config": {"digest": "sha256:x"}}).encode(),
        json.dumps({"layers": ["x"]}).encode(),
        json.dumps({"manifests": [{"digest": A + "/../"}]}).encode(),
        json.dumps({"manifests": [{"digest": A}] * (DESCRIPTOR_LIMIT + 1)}).encode(),
        b" " * (MANIFEST_LIMIT + 1),
    ],
)
def test_what_is_no_manifest_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):
        parse_manifest(body, OCI_INDEX)


@given(
    st.recursive(
        st.none() | st.text() | st.integers(), lambda x: st.lists(x) | st.dictionaries(st.text(), x), max_leaves=9
    )
)
def test_any_json_is_a_manifest_or_a_value_error(value: object) -> None:
    document = {"config": value, "layers": value, "manifests": value, "subject": value}
    for body in (json.dumps(value), json.dumps(document)):
        try:
            parse_manifest(body.encode())
        except ValueError:
            continue


@pytest.mark.parametrize(
    "text", ["", "sha256:", A + "\n", A.upper(), A[:-1], A + "a", "sha512:" + "a" * 64, "md5:" + "a" * 32]
)
def test_only_the_exact_form_is_a_digest(text: str) -> None:
    assert not is_digest(text)
    with pytest.raises(DigestInvalid):
        parse_digest(text)


@given(st.binary())
def test_a_digest_is_of_the_right_form_and_its_hasher_agrees(data: bytes) -> None:
    for algorithm in ("sha256", "sha512"):
        digest = digest_of(data, algorithm)
        assert parse_digest(digest) == digest
        running = hasher(digest)
        running.update(data)
        assert running.hexdigest() == digest.partition(":")[2]


def test_an_error_body_reads_back_and_foreign_ones_are_understood() -> None:
    assert decode_errors(encode_errors("DENIED", "no", {"a": 1})) == [("DENIED", "no")]
    assert decode_errors(b'{"details":"incorrect username or password"}')[0][1] == "incorrect username or password"
    assert decode_errors(b'{"error":"invalid_grant","error_description":"bad"}') == [("invalid_grant", "bad")]
    assert decode_errors(b"<html>") == []


@given(st.binary(max_size=300))
def test_any_bytes_are_an_error_body_or_nothing(body: bytes) -> None:
    decode_errors(body)


def test_the_detail_of_a_refusal_is_read_back() -> None:
    body = encode_errors("DENIED", "no", {"reason": "LicenseExpired", "hint": "renew it", "n": 7})
    assert decode_detail(body) == {"reason": "LicenseExpired", "hint": "renew it"}


@pytest.mark.parametrize("body", [b"", b"[]", b"7", b'{"errors": []}', b'{"errors": [{"detail": "x"}]}', b"[" * 60_000])
def test_a_refusal_without_detail_has_none(body: bytes) -> None:
    assert decode_detail(body) == {}
