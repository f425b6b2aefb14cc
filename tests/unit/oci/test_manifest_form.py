"""The form of a manifest, and the words for a body that has another."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pullgate.oci.manifest import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from pullgate.oci.manifest_form import ARTIFACT_TYPES, check_manifest
from tests.support.images import DOCKER_SCHEMA2, Image, artifact, helm_chart, image, index, schema1

SECRET = "CANARY-of-a-page"
CONFIG = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": "sha256:" + "c" * 64, "size": 2}
REAL = {
    "Docker's schema 2": image("a", flavour=DOCKER_SCHEMA2),
    "Docker's list": index([image("a", flavour=DOCKER_SCHEMA2)], flavour=DOCKER_SCHEMA2),
    "an image of OCI": image("a"),
    "an index of OCI": index([image("a")]),
    "a helm chart": helm_chart("demo", "1.0.0"),
    "a signature": artifact(image("a")),
    "Docker's schema 1": schema1("old"),
}
FAKES: dict[str, tuple[bytes, str]] = {
    "a page": (f"<!DOCTYPE html><html><body>{SECRET}</body></html>".encode(), "HTML"),
    "a page after spaces": (f"\n <HTML>{SECRET}</HTML>".encode(), "HTML"),
    "a storage's error": (f"<?xml version='1.0'?><Error>{SECRET}</Error>".encode(), "XML"),
    "an empty object": (b"{}", "an empty JSON object"),
    "a list": (b"[]", "a JSON list"),
    "a number": (b"7", "a JSON value"),
    "an error": (json.dumps({"errors": [{"code": "DENIED", "message": SECRET}]}).encode(), "an error in JSON"),
    "an error of OAuth": (json.dumps({"error": SECRET}).encode(), "an error in JSON"),
    "metadata of a cloud": (f"ami-id\nhostname\niam/{SECRET}\n".encode(), "plain text"),
    "credentials of a cloud": (json.dumps({"AccessKeyId": "A", "Token": SECRET}).encode(), "another JSON object"),
    "half of JSON": (f'{{"schemaVersion": 2, "x": "{SECRET}'.encode(), "JSON that cannot be read"),
    "a layer": (b"\x1f\x8b\x08\x00\xff\xfe", "bytes that are no text"),
    "nothing": (b"", "nothing"),
    "deep": (b'{"a":' * 100 + b"1" + b"}" * 100, "JSON that is nested too deep"),
    "a version alone": (b'{"schemaVersion": 2}', "another JSON object"),
    "no version": (json.dumps({"config": CONFIG, "layers": []}).encode(), "another JSON object"),
    "an image that is an index": (
        json.dumps({"schemaVersion": 2, "config": CONFIG, "layers": [], "manifests": []}).encode(),
        "another JSON object",
    ),
    "schema 1 without layers": (b'{"schemaVersion": 1}', "another JSON object"),
}


@pytest.mark.parametrize("kind", REAL)
def test_every_kind_of_manifest_is_one_with_its_media_type_and_without(kind: str) -> None:
    built: Image = REAL[kind]
    for content_type in (built.media_type, "", "application/json", "text/plain"):
        check_manifest(built.manifest, content_type)
    document = json.loads(built.manifest)
    if document.pop("mediaType", None) is not None:
        check_manifest(json.dumps(document).encode(), built.media_type)
        check_manifest(json.dumps(document).encode())


@pytest.mark.parametrize("media_type", sorted(ARTIFACT_TYPES))
@pytest.mark.parametrize("blobs", [{"blobs": []}, {"blobs": None}, {}])
def test_an_artifact_manifest_has_no_version(media_type: str, blobs: dict[str, Any]) -> None:
    check_manifest(json.dumps({"mediaType": media_type, "artifactType": "a/b", **blobs}).encode(), media_type)
    with pytest.raises(ValueError, match="another JSON object"):
        check_manifest(json.dumps({"artifactType": "a/b", **blobs}).encode(), media_type)


def test_an_empty_list_that_go_writes_as_null_is_one() -> None:
    check_manifest(json.dumps({"schemaVersion": 2, "manifests": None}).encode(), OCI_INDEX)
    check_manifest(json.dumps({"schemaVersion": 2, "config": CONFIG, "layers": None}).encode(), OCI_MANIFEST)


@pytest.mark.parametrize("fake", FAKES)
@pytest.mark.parametrize("content_type", [OCI_MANIFEST, OCI_INDEX, "", "application/json"])
def test_anything_else_is_refused_in_words_without_its_content(fake: str, content_type: str) -> None:
    body, words = FAKES[fake]
    with pytest.raises(ValueError, match=f"it sent {words}, not a manifest") as caught:
        check_manifest(body, content_type)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("said", [True, False], ids=["by itself", "by the header"])
@pytest.mark.parametrize(
    ("media_type", "built"),
    [
        (OCI_INDEX, image("a")),
        (DOCKER_LIST, image("a")),
        (OCI_MANIFEST, index([image("a")])),
        (DOCKER_MANIFEST, index([image("a")])),
    ],
)
def test_an_image_is_no_index_and_an_index_no_image(media_type: str, built: Image, said: bool) -> None:
    body = json.dumps({**json.loads(built.manifest), **({"mediaType": media_type} if said else {})}).encode()
    with pytest.raises(ValueError, match="is not of its media type"):
        check_manifest(body, "" if said else media_type)


@given(st.binary(max_size=200) | st.dictionaries(st.text(), st.none() | st.integers()).map(json.dumps).map(str.encode))
def test_any_bytes_are_refused_and_nothing_else_is_raised(body: bytes) -> None:
    with pytest.raises(ValueError, match="not a manifest"):
        check_manifest(body, OCI_MANIFEST)
