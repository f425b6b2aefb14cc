"""The stored manifest is what an upstream is asked for, whatever little a client says."""

from __future__ import annotations

import pytest

from pullgate.oci.accept import accept_for_upstream
from pullgate.oci.manifest import DOCKER_LIST, DOCKER_MANIFEST, MANIFEST_TYPES, OCI_INDEX, OCI_MANIFEST
from pullgate.oci.schema1 import SCHEMA1_SIGNED

CONTAINERD = (", ".join((DOCKER_MANIFEST, DOCKER_LIST, OCI_MANIFEST, OCI_INDEX, "*/*")),)


@pytest.mark.parametrize("values", [(), ("*/*",), ("application/*;q=0.9, */*;q=0.1",), ("application/json",), ("",)])
def test_a_client_that_names_no_type_of_manifest_gets_what_is_stored(values: tuple[str, ...]) -> None:
    assert accept_for_upstream(values) == (*MANIFEST_TYPES, "*/*")


@pytest.mark.parametrize(
    "values", [CONTAINERD, (DOCKER_MANIFEST,), (SCHEMA1_SIGNED,), (OCI_MANIFEST, f"{DOCKER_MANIFEST.upper()};q=0.5")]
)
def test_a_client_that_names_a_type_of_docker_is_passed_on_as_it_is(values: tuple[str, ...]) -> None:
    assert accept_for_upstream(values) == values


@pytest.mark.parametrize(
    ("values", "added"),
    [
        ((OCI_MANIFEST,), (DOCKER_MANIFEST,)),
        ((f"{OCI_MANIFEST}, {OCI_INDEX}",), (DOCKER_LIST, DOCKER_MANIFEST)),
        ((OCI_INDEX, DOCKER_LIST), (DOCKER_MANIFEST,)),
        (("application/vnd.oci.artifact.manifest.v1+json", "*/*"), (DOCKER_MANIFEST,)),
    ],
)
def test_a_client_of_oci_types_alone_gets_the_stored_image_and_no_conversion(
    values: tuple[str, ...], added: tuple[str, ...]
) -> None:
    assert accept_for_upstream(values) == (*values, *added)
