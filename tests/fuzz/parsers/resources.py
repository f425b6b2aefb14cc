"""Resources as vendors write them, in the cluster or in a folder; their fields; and what is kept of them on disk."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import yaml
from yarl import URL

from pullgate.oci.json_text import read_json
from pullgate.oci.yaml_nodes import BrokenYAML
from pullgate.resources.compile import license_facts, registry_facts, registry_hosts
from pullgate.resources.fields import (
    format_time,
    is_label,
    is_subdomain,
    parse_duration,
    parse_quantity,
    parse_time,
    show,
)
from pullgate.resources.license import License
from pullgate.resources.parse import InvalidResource, Resource, parse_resource
from pullgate.resources.registry import Registry
from pullgate.resources.schedule import InvalidSchedule, next_after
from pullgate.resources.secret import Secret
from pullgate.store.documents import FileContent, load_yaml, read_documents
from pullgate.store.port import Key
from pullgate.store.records import Record, decode_record, encode_record
from pullgate.store.secret_file import encode_secret, secret_key, secret_path
from pullgate.upstream.compile import upstream_config
from pullgate.upstream.guard import Guard, name_of
from tests.fuzz.parsers.oci import _JSON_WORDS, _YAML_WORDS
from tests.fuzz.parsers.parser import LARGEST, Parser, parts, text

_MOMENT: Final = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def _parse_json(data: bytes) -> Resource:
    document = read_json(data)
    if not isinstance(document, dict):
        raise ValueError("no object")
    return _told(document)


def _parse_yaml(data: bytes) -> Resource:
    document = load_yaml(text(data))
    if not isinstance(document, dict):
        raise ValueError("no object")
    return _told(document)


def _told(document: dict[str, Any]) -> Resource:
    """Parse `document`. Each error must be one line that fits into a condition and on a terminal."""
    try:
        return parse_resource(document)
    except InvalidResource as error:
        _mistakes(error)
        raise


def _mistakes(error: InvalidResource) -> None:
    assert error.errors
    for mistake in error.errors:
        assert "\n" not in mistake.message
        assert len(mistake.message) < 300


def _resource(resource: Resource) -> None:
    metadata = resource.metadata
    assert is_label(metadata.namespace)
    assert is_subdomain(metadata.name)
    if isinstance(resource, License):
        facts = license_facts(resource)
        assert facts.not_before is None or facts.expires_at is None or facts.not_before < facts.expires_at
        for moment in (facts.not_before, facts.expires_at):
            assert moment is None or parse_time(format_time(moment)) == moment.replace(microsecond=0)
    elif isinstance(resource, Registry):
        assert registry_facts(resource).host
        assert registry_hosts(resource)
        assert Guard(upstream_config(resource, ())).is_own(name_of(URL(f"https://{resource.spec.host}")))
    elif isinstance(resource, Secret):
        stored = resource.all_data()
        for value in stored.values():
            base64.b64decode(value, validate=True)
        _secret_file(stored)


def _secret_file(stored: dict[str, str]) -> None:
    """A Secret reads back from its file as it was."""
    document = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "namespace": "b"}, "data": stored}
    found = read_documents(encode_secret(document), "a.yaml")
    assert found.problems == []
    again = found.documents[Key("Secret", "b", "a")].document["data"]
    assert {k: base64.b64decode(v) for k, v in again.items()} == {k: base64.b64decode(v) for k, v in stored.items()}


def _read_file(data: bytes) -> tuple[str, FileContent]:
    name, written = parts(data, 2)
    written = written.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return written, read_documents(written, "a.json" if name == "json" else "a.yaml")


def _file(read: tuple[str, FileContent]) -> None:
    written, content = read
    lines = len(written.splitlines()) + 1
    for problem in content.problems:
        assert 1 <= problem.line <= lines + 1, problem
        assert "\n" not in str(problem)
    for key, found in content.documents.items():
        assert key == Key(found.document["kind"], found.document["metadata"].get("namespace") or "default", key.name)
        assert 1 <= found.line <= lines


def _record(read: tuple[Key, Record]) -> None:
    key, record = read
    assert decode_record(encode_record(key, record)) == (key, record)


def _time(moment: datetime) -> None:
    assert moment.utcoffset() == timedelta(0)
    assert parse_time(format_time(moment)) == moment.replace(microsecond=0)


def _duration(length: timedelta) -> None:
    assert length >= timedelta(0)
    milliseconds = length // timedelta(milliseconds=1)
    if milliseconds < 10**12:
        assert parse_duration(f"{milliseconds // 1000}s{milliseconds % 1000}ms") == length


def _shown(number: int) -> None:
    assert show(number)


def _next(data: bytes) -> tuple[str, str, datetime]:
    zone, schedule = parts(data, 2)
    return zone, schedule, next_after(schedule, zone, _MOMENT)


def _later(found: tuple[str, str, datetime]) -> None:
    zone, schedule, moment = found
    assert moment > _MOMENT
    assert moment.second == 0
    assert next_after(schedule, zone, moment) > moment


def _secret_name(data: bytes) -> tuple[str, Key | None]:
    return text(data), secret_key(text(data))


def _secret_path(found: tuple[str, Key | None]) -> None:
    path, key = found
    if key is not None:
        assert secret_path(key) == path
        assert ".." not in path.split("/")


_FIELDS: Final = tuple(
    json.dumps(word).encode() + b":" for word in (
        "apiVersion", "kind", "metadata", "name", "namespace", "spec", "status", "type", "host", "credentials",
        "secretRef",
        "anonymous", "domains", "repositories", "entitlements", "tags", "match", "semver", "expiresAt", "notBefore",
        "limits", "bytesPerDay", "keys", "rotation", "images", "schedule", "timeZone", "platforms", "data",
        "stringData",
        "imagesFrom", "imagePaths", "creationTimestamp", "workloadIdentity", "aws", "roleARN", "check", "interval",
    )
)  # fmt: skip
_RESOURCE_WORDS: Final = (
    *_FIELDS,
    b'"pullgate.dev/v1alpha1"', b'"v1"', b'"Registry"', b'"License"', b'"ImageTest"', b'"Secret"',
    b'"2027-01-01T00:00:00Z"',
     b'"90d"', b'"200Gi"', b'"quay.io"', b'"my-org/**"', b'"a-b"')  # fmt: skip
_YAML_RESOURCE: Final = tuple(word.replace(b'"', b"") + b" " for word in _RESOURCE_WORDS) + _YAML_WORDS
_NOT_TAKEN: Final = (InvalidResource, ValueError)

PARSERS: Final = (
    Parser("resource-json", _parse_json, _NOT_TAKEN, _resource, (*_RESOURCE_WORDS, *_JSON_WORDS), LARGEST,
        is_json=True),
    Parser("resource-yaml", _parse_yaml, (*_NOT_TAKEN, yaml.YAMLError, BrokenYAML), _resource, _YAML_RESOURCE,
        LARGEST),
    Parser("folder-file", _read_file, (), _file, (b"json\n", b"\n", *_YAML_RESOURCE), LARGEST),
    Parser(
        "record", lambda data: decode_record(text(data)), (ValueError,), _record,
        (b"uid: a\n", b"generation: 1\n", b"creationTimestamp: '2026-01-01T00:00:00Z'\n", b"file: a.yaml\n",
         *_YAML_RESOURCE),
        LARGEST,
    ),
    Parser(
        "secret-path", _secret_name, (), _secret_path, (b"a", b"/", b".yaml", b"..", b".", b"-", b"\n", b"A"), LARGEST
    ),
    Parser(
        "time", lambda data: parse_time(text(data)), (ValueError,), _time,
        (b"2027-01-01", b"T", b"00:00:00", b"Z", b"+", b"-", b"99:99", b".123456789", b"0001-01-01", b"9999-12-31",
         b"24:00:00",
         b"23:59:60", b"\xd9\xa3"),
        LARGEST,
    ),
    Parser(
        "duration", lambda data: parse_duration(text(data)), (ValueError,), _duration,
        (b"1", b"9" * 30, b"0" * 30, b"d", b"h", b"m", b"s", b"ms", b"\xd9\xa3"), LARGEST,
    ),
    Parser(
        "quantity", lambda data: parse_quantity(text(data)), (ValueError,), _shown,
        (b"1", b"9" * 18, b"Ki", b"Gi", b"G", b"k", b"-", b"."), LARGEST,
    ),
    Parser(
        "schedule", _next, (InvalidSchedule,), _later,
        (b"UTC\n", b"Europe/Berlin\n", b"../", b"*", b"*/", b" ", b",", b"-", b"0", b"59", b"31", b"FEB", b"MON",
         b"L", b"#", b"W",
         b"@daily", b"7", b"99999", b"/0", b"\xc2\xb2", b"\xd9\xa3"),
        LARGEST,
    ),
)  # fmt: skip
