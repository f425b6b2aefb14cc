"""References, challenges, digests, error bodies, manifests, YAML."""

from __future__ import annotations

from typing import Any, Final

import yaml

from pullgate.faults import DigestInvalid
from pullgate.oci.challenge import CHALLENGE_LIMIT, FIELD_LIMIT, Challenge, format_challenge, parse_challenges
from pullgate.oci.digest import hasher, is_digest, parse_digest
from pullgate.oci.errors import BODY_LIMIT, decode_detail, decode_errors
from pullgate.oci.json_text import DEPTH_LIMIT, read_json
from pullgate.oci.manifest import MANIFEST_LIMIT, Manifest, parse_manifest
from pullgate.oci.reference import InvalidReference, Reference, is_host, is_repository, is_tag, parse_reference
from pullgate.oci.rendered import (
    IMAGE_LIMIT,
    PROBLEM_LIMIT,
    ImagePath,
    InvalidInput,
    RenderedImage,
    parse_image_path,
    read_images,
)
from pullgate.oci.yaml_nodes import BrokenYAML, Node, read_nodes
from tests.fuzz.parsers.parser import LARGEST, Parser, text, wire

DIGEST: Final = b"sha256:" + b"0a" * 32
_YAML_WORDS: Final = (
    b"- ", b": ", b"\n", b"  ", b"&a ", b"*a", b"<<: ", b"{", b"}", b"[", b"]", b"'", b'"', b"|\n", b">\n", b"? ",
    b"---\n", b"...\n", b"!!str ", b"!!binary ", b"!!int ", b"%YAML 1.1\n", b"\t", b"# ", b"\xc2\x85", b"~", b"0x_",
    b"2027-01-01", b"\\ud800",
)  # fmt: skip
_PATHS: Final = (parse_image_path("spec.image"), parse_image_path("Database:spec.parts[].image"))


def _reference(reference: Reference) -> None:
    assert parse_reference(str(reference)) == reference
    assert is_host(reference.host)
    assert is_repository(reference.repository)
    assert reference.tag is None or is_tag(reference.tag)
    assert reference.digest is None or is_digest(reference.digest)


def _challenges(challenges: list[Challenge]) -> None:
    assert len(challenges) <= CHALLENGE_LIMIT
    for challenge in challenges:
        assert challenge.scheme == challenge.scheme.lower()
        assert not any(c in value for value in challenge.parameters.values() for c in "\r\n\0")
        written = format_challenge(challenge.scheme, challenge.parameters)
        if challenge.parameters and len(written) <= FIELD_LIMIT:
            assert parse_challenges([written]) == [challenge]


def _errors(read: tuple[list[tuple[Any, Any]], dict[Any, Any]]) -> None:
    errors, detail = read
    assert all(isinstance(code, str) and isinstance(message, str) for code, message in errors)
    assert all(isinstance(key, str) and isinstance(value, str) for key, value in detail.items())


def _manifest(manifest: Manifest) -> None:
    assert isinstance(manifest.media_type, str)
    assert len(manifest.children) == len(manifest.platforms)
    assert len(manifest.blobs) == len(manifest.sizes) == len(set(manifest.blobs))
    assert all(map(is_digest, [*manifest.children, *manifest.blobs]))
    assert manifest.subject is None or is_digest(manifest.subject)
    assert manifest.config is None or manifest.config in manifest.blobs
    assert manifest.foreign <= set(manifest.blobs)
    assert all(size is None or size >= 0 for size in manifest.sizes)
    assert all(str(platform) is not None for platform in manifest.platforms)


def _read_rendered(data: bytes) -> tuple[RenderedImage, ...]:
    try:
        return read_images(text(data), _PATHS)
    except InvalidInput as error:
        _problems(error, len(text(data).splitlines()))
        raise


def _problems(error: InvalidInput, lines: int) -> None:
    assert 1 <= len(error.problems) <= PROBLEM_LIMIT
    assert all(1 <= problem.line <= lines + 1 for problem in error.problems)
    assert all("\n" not in problem.message for problem in error.problems)


def _rendered(images: tuple[RenderedImage, ...]) -> None:
    assert len(images) <= IMAGE_LIMIT
    assert len({image.reference for image in images}) == len(images)
    for image in images:
        assert parse_reference(image.image) == image.reference
        assert image.sources
        assert all(source.line >= 1 for source in image.sources)


def _image_path(path: ImagePath) -> None:
    joined = ".".join(path.steps).replace(".[]", "[]")
    assert parse_image_path(f"{path.kind}:{joined}" if path.kind else joined) == path


def _read_nodes(data: bytes) -> tuple[bytes, list[Node]]:
    return data, list(read_nodes(data))


def _nodes(read: tuple[bytes, list[Node]]) -> None:
    """PyYAML's composer, which is another reader of the same events, finds the same (it is too deep for it else)."""
    data, nodes = read
    if len(data) > 4096:
        return
    try:
        composed = [n for n in yaml.compose_all(data, Loader=yaml.SafeLoader) if n is not None]
    except yaml.YAMLError:
        return
    composed = [n for n in composed if n.value or isinstance(n, yaml.CollectionNode)]
    assert len(composed) == len(nodes)
    for theirs, ours in zip(composed, nodes, strict=True):
        _same(theirs, ours, 0)


def _same(theirs: yaml.Node, ours: Node, depth: int) -> None:
    if depth > 12:  # by aliases it may be endless
        return
    if isinstance(theirs, yaml.ScalarNode):
        assert ours.items is None
        assert ours.text == theirs.value
        return
    assert ours.items is not None
    assert ours.is_mapping == isinstance(theirs, yaml.MappingNode)
    inner = [n for pair in theirs.value for n in pair] if ours.is_mapping else list(theirs.value)
    assert len(inner) == len(ours.items)
    for one, other in zip(inner[:8], ours.items[:8], strict=True):
        _same(one, other, depth + 1)


def _depth(value: Any) -> None:
    level, depth = [value], 0
    while level:
        depth += 1
        inner = [v.values() if isinstance(v, dict) else v for v in level if isinstance(v, dict | list)]
        level = [each for values in inner for each in values]
    assert depth <= DEPTH_LIMIT + 1


_JSON_WORDS: Final = (
    b"{", b"}", b"[", b"]", b'"', b":", b",", b"null", b"true", b"1e999", b"NaN", b"-1", b"9" * 400, b'"\\ud800"',
    b'""', b"[[[[[[[[", b'{"a":{"a":', b"\xef\xbb\xbf", b"\xff\xfe", b"\x00",
)  # fmt: skip

PARSERS: Final = (
    Parser(
        "reference", lambda data: parse_reference(text(data)), (InvalidReference,), _reference,
        (b"a", b"/", b":", b"@", b".", b"__", b"-", b"[::1]", b":5000", b"localhost", b"docker.io/", DIGEST, b"A"),
        LARGEST,
    ),
    Parser(
        "challenge", lambda data: parse_challenges(wire(data).split("\n")), (), _challenges,
        (b"Bearer ", b"Basic ", b"realm=", b'"', b",", b"=", b"\\", b" ", b"\t", b"abc=", b"\n", b"scope=",
         b"Negotiate"),
    ),
    Parser(
        "digest", lambda data: parse_digest(wire(data)), (DigestInvalid,), lambda digest: hasher(digest).update(b""),
        (b"sha256:", b"sha512:", b"0" * 64, b"a", b"\n", b"..", b"/"),
    ),
    Parser(
        "errors", lambda data: (decode_errors(data), decode_detail(data)), (), _errors,
        (b'{"errors":[', b'"code":', b'"message":', b'"detail":', b'"details":', b'"error":', *_JSON_WORDS),
        BODY_LIMIT * 2, is_json=True,
    ),
    Parser("json", read_json, (ValueError,), _depth, _JSON_WORDS, LARGEST, is_json=True),
    Parser(
        "manifest", lambda data: parse_manifest(data, "application/vnd.oci.image.manifest.v1+json; a"), (ValueError,),
        _manifest,
        (b'"manifests":[', b'"layers":[', b'"config":{', b'"digest":"' + DIGEST + b'"', b'"size":', b'"platform":{',
         b'"mediaType":', b'"subject":', b'"fsLayers":[{"blobSum":', b'"urls":', *_JSON_WORDS),
        MANIFEST_LIMIT, is_json=True,
    ),
    Parser(
        "rendered", _read_rendered, (InvalidInput,), _rendered,
        (b"kind: Pod\n", b"spec:\n", b"containers:\n", b"image: a\n", b"kind: List\n", b"items:\n",
         b"apiVersion: v1\n",
         *_YAML_WORDS),
        LARGEST,
    ),
    Parser(
        "image-path", lambda data: parse_image_path(text(data)), (ValueError,), _image_path,
        (b"spec", b".", b"[]", b":", b"Kind:", b"\n", b"-"), LARGEST,
    ),
    Parser("yaml", _read_nodes, (BrokenYAML,), _nodes, _YAML_WORDS, LARGEST),
)  # fmt: skip
