"""The digest of a schema 1 manifest is that of its signed payload."""

from __future__ import annotations

import json

import pytest

from pullgate.oci.digest import digest_of
from pullgate.oci.manifest import parse_manifest
from pullgate.oci.schema1 import SCHEMA1, SCHEMA1_SIGNED, is_schema1, signed_payload
from tests.support.images import image, schema1

OLD = schema1("old")
UNSIGNED = b'{"schemaVersion": 1, "name": "a/b"}'


def test_the_digest_is_that_of_what_was_signed() -> None:
    assert is_schema1(OLD.manifest)
    assert digest_of(signed_payload(OLD.manifest)) == OLD.digest != digest_of(OLD.manifest)
    assert signed_payload(UNSIGNED) == UNSIGNED


def test_a_manifest_whose_readable_part_is_another_than_the_signed_one_is_refused() -> None:
    layer = next(iter(OLD.blobs))
    # The second `fsLayers` stands behind what was signed, and JSON's last member wins.
    forged = OLD.manifest[: OLD.manifest.rindex(b"\n}")] + b',"fsLayers": [{"blobSum": "sha256:' + b"0" * 64 + b'"}]}'
    assert json.loads(forged)["fsLayers"] != [{"blobSum": layer}]
    with pytest.raises(ValueError, match="another manifest"):
        signed_payload(forged)


@pytest.mark.parametrize("protected", [None, "%", "e30", "eyJmb3JtYXRMZW5ndGgiOjk5OTk5OX0", "WzFd"])
def test_a_signature_that_does_not_tell_what_it_is_of_is_refused(protected: object) -> None:
    document = {"schemaVersion": 1, "signatures": [{"protected": protected}]}
    with pytest.raises(ValueError):
        signed_payload(json.dumps(document).encode())
    with pytest.raises(ValueError):
        signed_payload(json.dumps({**document, "signatures": {"a": protected}}).encode())


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", image("new").manifest, b"\xff"])
def test_what_is_no_schema_1_is_not_taken_for_it(body: bytes) -> None:
    assert not is_schema1(body)


def test_the_type_of_a_manifest_without_one_is_found_by_its_signatures() -> None:
    assert parse_manifest(OLD.manifest).media_type == SCHEMA1_SIGNED
    assert parse_manifest(UNSIGNED).media_type == SCHEMA1
