"""Every image of rendered manifests is found, with its place; an error names the line that cannot be read."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pullgate.oci.rendered import (
    _MANIFEST,
    IMAGE_LIMIT,
    PROBLEM_LIMIT,
    SIZE_LIMIT,
    InvalidInput,
    RenderedImage,
    parse_image_path,
    read_images,
)
from pullgate.oci.yaml_nodes import Node, read_nodes

POD_SPEC = {
    "initContainers": [{"name": "init", "image": "quay.io/my-org/init:1"}],
    "containers": [{"name": "main", "image": "quay.io/my-org/main:1"}, {"name": "side", "image": "busybox"}],
    "ephemeralContainers": [{"name": "debug", "image": "quay.io/my-org/debug:1"}],
    "volumes": [{"name": "data", "image": {"reference": "quay.io/my-org/data:1"}}, {"name": "tmp", "emptyDir": {}}],
}
NAMES = [
    "quay.io/my-org/init:1",
    "quay.io/my-org/main:1",
    "docker.io/library/busybox",
    "quay.io/my-org/debug:1",
    "quay.io/my-org/data:1",
]
TEMPLATE = {"spec": {"selector": {}, "template": {"metadata": {"labels": {}}, "spec": POD_SPEC}}}
KINDS: dict[str, dict[str, Any]] = {
    "Pod": {"spec": POD_SPEC},
    "PodTemplate": {"template": {"spec": POD_SPEC}},
    "Deployment": TEMPLATE,
    "StatefulSet": TEMPLATE,
    "DaemonSet": TEMPLATE,
    "ReplicaSet": TEMPLATE,
    "ReplicationController": TEMPLATE,
    "Job": TEMPLATE,
    "CronJob": {"spec": {"jobTemplate": {"spec": {"template": {"spec": POD_SPEC}}}}},
}


def manifest(kind: str, body: dict[str, Any], name: str = "api") -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **body}


def names(images: tuple[RenderedImage, ...]) -> list[str]:
    return [str(image.reference) for image in images]


def problems(text: str, *paths: str) -> list[str]:
    with pytest.raises(InvalidInput) as raised:
        read_images(text, [parse_image_path(path) for path in paths])
    return [str(problem) for problem in raised.value.problems]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("write", [yaml.safe_dump, json.dumps], ids=["yaml", "json"])
def test_every_image_of_a_built_in_kind_is_found(kind: str, write: Any) -> None:
    images = read_images(write(manifest(kind, KINDS[kind])))
    assert names(images) == NAMES
    assert {image.sources[0].document for image in images} == {f"{kind}/api"}


def test_lists_are_opened_also_those_whose_items_name_no_kind() -> None:
    whole = manifest("List", {"items": [manifest("Pod", KINDS["Pod"]), manifest("Job", {"spec": {}})]})
    typed = {"apiVersion": "v1", "kind": "PodList", "items": [{"metadata": {"name": "a"}, "spec": POD_SPEC}]}
    assert names(read_images(yaml.safe_dump(whole))) == NAMES
    found = read_images(yaml.safe_dump(typed))
    assert names(found) == NAMES
    assert found[0].sources[0].document == "Pod/a"


def test_an_image_is_told_with_each_place_that_names_it() -> None:
    text = """\
# Source: chart/templates/api.yaml
apiVersion: apps/v1
kind: Deployment
metadata: {name: api}
spec:
  template:
    spec:
      containers:
        - name: api
          image: quay.io/my-org/api:1.4.0
---
---
apiVersion: batch/v1
kind: Job
metadata: {generateName: migrate-}
spec: {template: {spec: {containers: [
  {image: "nginx"},
  {image: quay.io/my-org/api:1.4.0}]}}}
"""
    api, nginx = read_images(text)
    assert [str(source) for source in api.sources] == [
        "line 10 Deployment/api spec.template.spec.containers[0].image",
        "line 18 Job/migrate- spec.template.spec.containers[1].image",
    ]
    assert (nginx.image, str(nginx.reference)) == ("nginx", "docker.io/library/nginx")


def test_anchors_and_merges_are_followed() -> None:
    text = """\
kind: Pod
x: &base {image: quay.io/a/b:1, name: base}
spec:
  containers:
    - {<<: *base, name: one}
    - {<<: [{tty: true}, *base], image: quay.io/a/c:1}
    - *base
"""
    assert names(read_images(text)) == ["quay.io/a/b:1", "quay.io/a/c:1"]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("spec.image", ["docker.io/library/one"]),
        ("Database:spec.image", ["docker.io/library/one"]),
        ("Other:spec.image", []),
        ("spec.components[].image", ["docker.io/library/two", "docker.io/library/three"]),
        ("spec.matrix[][]", ["docker.io/library/four"]),
        ("spec.none[].image", []),
        ("spec.image[]", []),
    ],
)
def test_fields_of_custom_resources_are_read_by_their_paths(path: str, found: list[str]) -> None:
    spec = {"image": "one", "components": [{"image": "two"}, {}, {"image": "three"}], "matrix": [["four"]]}
    text = yaml.safe_dump(manifest("Database", {"spec": spec}))
    assert names(read_images(text, [parse_image_path(path)])) == found
    assert read_images(text) == ()


@pytest.mark.parametrize("path", ["", ".", "spec.", "spec..image", "[].image", "spec[0]", "database:spec", "a b"])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="no path of a field"):
        parse_image_path(path)


def test_a_plain_list_is_read_line_by_line() -> None:
    images = read_images("# release 1.4\nquay.io/my-org/api:1.4.0\n\n  nginx  # the edge\r\nquay.io/my-org/api:1.4.0\n")
    assert names(images) == ["quay.io/my-org/api:1.4.0", "docker.io/library/nginx"]
    assert [source.line for source in images[0].sources] == [2, 5]


@pytest.mark.parametrize("text", ["", "\n# none\n", "---\n# Source: a\n---\n", "kind: ConfigMap\ndata: {image: x}"])
def test_input_without_images_holds_none(text: str) -> None:
    assert read_images(text) == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nginx\nmy image\n", "line 2: my image: an image reference has no space and no character outside ASCII"),
        (
            "kind: Pod\nspec:\n  containers:\n  - image: a b\n",
            "line 4: Pod spec.containers[0].image: a b: an image",
        ),
        ("kind: Pod\nspec: {containers: [{image: }]}", "line 2: Pod spec.containers[0].image is empty"),
        ("kind: Pod\nspec: {containers: [{image: ''}]}", "line 2: Pod spec.containers[0].image is empty"),
        ("kind: Pod\nspec: {containers: [{image: 1.0}]}", "line 2: Pod spec.containers[0].image is no text; quote it"),
        ("kind: Pod\nspec: {containers: [{image: {{ x }}}]}", "is no text; quote it, or render the chart"),
        ("kind: Pod\nspec:\n\tcontainers: x", "line 3: broken YAML: found"),
        ("kind: Pod\n---\nkind: Pod\nspec: [", "line 4: broken YAML: "),
        ("kind: Pod\nspec: *no", "line 2: broken YAML: names an anchor that does not stand before it"),
        ("kind: \x01", "line 1: broken YAML: a character that YAML does not allow"),
        ("kind: Pod\n---\nreplicas: 3", "line 3: this document is no manifest: it has no kind"),
    ],
)
def test_a_mistake_is_told_with_its_line(text: str, said: str) -> None:
    assert said in problems(text)[0]


def test_mistakes_are_told_together_up_to_a_bound() -> None:
    assert problems("good\nbad one\nbad two") == [
        f"line {n}: bad {word}: an image reference has no space and no character outside ASCII"
        for n, word in ((2, "one"), (3, "two"))
    ]
    assert len(problems("a b\n" * 1000)) == PROBLEM_LIMIT


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x" * (SIZE_LIMIT + 1), "larger than 8 MiB"),
        ("\n".join(f"a{n}" for n in range(IMAGE_LIMIT + 1)), f"more than {IMAGE_LIMIT} images"),
        ("kind: " + "[" * 100_000, "nested too deep"),
        ("kind: List\nitems: &a [{kind: List, items: *a}]", "lists hold lists without end"),
        ("kind: C\na: &a [1]\nb: [" + "[], " * 1_000_001 + "]", "holds too much"),
    ],
    ids=["size", "images", "depth", "ring", "nodes"],
)
def test_what_is_too_large_is_refused_and_harms_nobody(text: str, said: str) -> None:
    assert said in problems(text)[0]


def test_aliases_that_unfold_without_end_are_refused() -> None:
    levels = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]\n" for n in range(1, 9))
    assert "unfold to too much" in problems(f"kind: C\nl0: &l0 [x]\n{levels}", "l8" + "[]" * 9)[0]


def test_as_many_images_as_are_allowed_are_taken() -> None:
    assert len(read_images("\n".join(f"a{n}" for n in range(IMAGE_LIMIT)))) == IMAGE_LIMIT


def check_words(error: InvalidInput) -> None:
    assert all(problem.line >= 1 and problem.message.isprintable() for problem in error.problems)


# PyYAML writes YAML 1.1's own line breaks as they are, and reads them back as blanks.
_TEXTS = st.text(st.characters(exclude_characters="\x85\u2028\u2029", exclude_categories=["Cs"]), max_size=8)
_TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | _TEXTS | st.sampled_from(["nginx", "quay.io/a/b:1"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["spec", "containers", "image", "items", "template", "kind", "volumes", "reference"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(kind=st.sampled_from([*KINDS, "List", "Custom"]), body=_TREES)
def test_whatever_a_manifest_holds_it_is_read_or_told(kind: str, body: Any) -> None:
    text = yaml.safe_dump({"apiVersion": "v1", "kind": kind, "spec": body, "items": body})
    try:
        read_images(text, [parse_image_path("spec.image"), parse_image_path("items[].image")])
    except InvalidInput as error:
        check_words(error)


@given(st.text(max_size=200))
def test_whatever_text_it_is_it_is_read_or_told(text: str) -> None:
    for prefix in ("", "kind: Pod\n"):
        try:
            read_images(prefix + text)
        except InvalidInput as error:
            check_words(error)


@given(_TREES)
def test_nodes_hold_what_the_yaml_parser_reads(tree: Any) -> None:
    def plain(node: Node) -> Any:
        if node.is_mapping:
            return {key.text: plain(value) for key, value in zip(node.items[::2], node.items[1::2], strict=True)}  # type: ignore[index]
        if node.items is not None:
            return [plain(item) for item in node.items]
        return node.text if node.is_text else yaml.safe_load(str(node.text))

    (root,) = read_nodes(yaml.safe_dump({"root": tree}, allow_unicode=True).encode())
    assert plain(root) == {"root": tree}


@pytest.mark.parametrize("text", ["\n" * 2_000_000, " " * 2_000_000, "- " * 300_000, "{\n" * 300_000])
def test_whether_it_is_manifests_is_told_in_one_reading(text: str) -> None:
    """A search that starts again at each line would not finish in time."""
    assert _MANIFEST.search(text) is None


def test_a_manifest_in_json_over_several_lines_is_one() -> None:
    assert names(read_images(json.dumps(manifest("Pod", KINDS["Pod"]), indent=4))) == NAMES
