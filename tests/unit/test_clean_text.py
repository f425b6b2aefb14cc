"""Foreign text is printed with every letter, and without control codes for the terminal."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
import unicodedata
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from pullgate.clean_text import FORBIDDEN, clean
from pullgate.log_lines import CleanFormatter
from pullgate.resources.conditions import set_condition
from pullgate.resources.fields import parse_time
from pullgate.resources.parse import InvalidResource, parse_resource
from pullgate.upstream.probe import ImageResult
from pullgate_cli.__main__ import main
from pullgate_cli.gate.report import FORMATS, Asked, Place, Report
from pullgate_cli.printing import escape, print_data, print_table, render_json, render_yaml, tell
from tests.support.documents import image_test, license_, registry

HOSTILE = "a\x1b[2J\x9b31m\x07\u202egnp\u2066\u2028\u061cz\x7f"
LETTERS = 'ärger "x" 請求書 می‌خواهم שלום हिन्दी 👩‍🚀'
CRDS = sorted((Path(__file__).parents[2] / "deploy" / "crds").glob("*.pullgate.dev.yaml"))


def test_controls_and_bidi_characters_are_forbidden_and_no_letter_is() -> None:
    for number in range(sys.maxunicode + 1):
        character = chr(number)
        kind = unicodedata.category(character)
        if kind in {"Cc", "Cs", "Zl", "Zp"} or unicodedata.bidirectional(character) in _DIRECTIONS:
            assert FORBIDDEN.match(character), hex(number)
        if kind[0] in "LMNPS" or kind == "Zs":
            assert not FORBIDDEN.match(character), hex(number)


_DIRECTIONS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


@pytest.mark.parametrize("path", CRDS, ids=lambda path: path.name)
def test_the_crds_forbid_the_same_characters(path: Path) -> None:
    found = set(re.findall(r'!self\.matches\("(\[[^"]*\])"\)', path.read_text()))
    (written,) = found
    controls = written.replace("\\\\", "\\").replace(r"\p{Cc}", r"\x00-\x1f\x7f-\x9f")
    pattern = re.compile(re.sub(r"\\x\{(\w+)\}", r"\\u\1", controls))
    for number in range(sys.maxunicode + 1):
        if not 0xD800 <= number <= 0xDFFF:  # UTF-8 has no surrogates
            assert bool(pattern.match(chr(number))) == bool(FORBIDDEN.match(chr(number))), hex(number)


@pytest.mark.parametrize("character", ["\x1b", "\n", "\x9b", "\u202e", "\u2066", "\u200f", "\u2028"])
@pytest.mark.parametrize("kind", ["customer", "reason", "image", "check", "ca", "account"])
def test_a_field_with_a_control_or_bidi_character_is_refused(kind: str, character: str) -> None:
    text = f"a{character}b"
    account = {"gcp": {"serviceAccount": f"{text}@b.iam.gserviceaccount.com"}}
    document = {
        "customer": license_(customer={"name": text}),
        "reason": license_(suspended={"reason": text}),
        "image": image_test(images=[text]),
        "check": registry(check={"image": text}),
        "ca": registry(tls={"caSecretRef": {"name": "ca", "key": text}}),
        "account": registry(type="GAR", host="europe-docker.pkg.dev", credentials={"workloadIdentity": account}),
    }[kind]
    with pytest.raises(InvalidResource) as refused:
        parse_resource(document)
    assert FORBIDDEN.search(str(refused.value)) is None


def test_a_name_or_field_that_is_none_is_told_without_its_escapes() -> None:
    more = {**license_(), "spec": {**license_()["spec"], HOSTILE: 1}}
    for document in ({**license_(), "metadata": {"name": HOSTILE}}, more, {"kind": HOSTILE}):
        with pytest.raises(InvalidResource) as refused:
            parse_resource(document)
        assert FORBIDDEN.search(str(refused.value)) is None


def test_letters_of_every_language_are_a_name_and_a_reason() -> None:
    parsed = parse_resource(license_(customer={"name": LETTERS}, suspended={"reason": LETTERS}))
    assert parsed.model_dump(by_alias=True)["spec"]["customer"]["name"] == LETTERS


@given(st.text())
@example(HOSTILE)
def test_what_is_printed_holds_no_forbidden_character_and_programs_read_back_all_of_it(text: str) -> None:
    assert FORBIDDEN.search(clean(text)) is None
    assert FORBIDDEN.search(clean(text, lines=True).replace("\n", "").replace("\t", "")) is None
    data = {"name": text, "list": [text]}
    for rendered in (render_json(data), render_yaml(data)):
        assert FORBIDDEN.search(rendered.replace("\n", "").replace("\t", "")) is None
    assert json.loads(render_json(data)) == data
    assert yaml.safe_load(render_yaml(data)) == data


def test_letters_are_printed_whole(capsys: pytest.CaptureFixture[str]) -> None:
    tell(LETTERS)
    print_data({"name": LETTERS}, "json")
    print_data({"name": LETTERS}, "yaml")
    print_table(("NAME",), [(escape(LETTERS),)])
    out, err = capsys.readouterr()
    assert LETTERS in err
    assert out.count("請求書") == 3
    assert json.dumps(LETTERS, ensure_ascii=False) in out
    assert FORBIDDEN.search(out.replace("\n", "")) is None


def test_tables_lines_and_errors_of_commands_hold_no_escape(capsys: pytest.CaptureFixture[str]) -> None:
    tell(HOSTILE)
    print_table(("NAME",), [(escape(HOSTILE),)])
    with pytest.raises(SystemExit):
        main.main(["explain", "acme", HOSTILE], "pullgate")
    for said in capsys.readouterr():
        assert "x1b[2J" in said
        assert FORBIDDEN.search(said.replace("\n", "")) is None


@pytest.mark.parametrize("form", FORMATS)
def test_no_report_of_a_gate_holds_an_escape(form: str) -> None:
    result = ImageResult(image=HOSTILE, passed=False, reason="ManifestUnknown", message=HOSTILE, hint=HOSTILE)
    report = Report((Asked(HOSTILE, (result,)),), 1.0, {HOSTILE: (Place(HOSTILE, 3),)})
    assert FORBIDDEN.search(FORMATS[form](report).replace("\n", "")) is None


def test_a_condition_holds_no_escape_and_every_letter() -> None:
    now = parse_time("2026-01-01T00:00:00Z")
    (row,) = set_condition((), "Ready", "True", "Ok", f"{HOSTILE} {LETTERS}", generation=1, now=now)
    assert FORBIDDEN.search(row.message) is None
    assert LETTERS in row.message


def test_a_logged_message_is_one_line_and_its_traceback_holds_no_escape() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(CleanFormatter("%(levelname)s %(message)s"))
    logger = logging.Logger("clean")
    logger.addHandler(handler)
    logger.warning("of %s", f"{LETTERS}\nERROR forged {HOSTILE}")
    assert stream.getvalue().count("\n") == 1
    assert LETTERS in stream.getvalue()
    assert FORBIDDEN.search(stream.getvalue().rstrip("\n")) is None
