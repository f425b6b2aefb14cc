"""Text -> documents: each on its own, each mistake with its line."""

from __future__ import annotations

from pullgate.store.documents import FileContent, read_documents
from pullgate.store.merge import FolderContent
from pullgate.store.port import Key

ACME = Key("License", "my-app", "acme")
BETA = Key("License", "my-app", "beta")


def license_text(name: str, extra: str = "") -> str:
    """A License of seven lines."""
    return (
        "apiVersion: pullgate.dev/v1alpha1\nkind: License\n"
        f"metadata: {{name: {name}, namespace: my-app}}\nspec:\n"
        f"  customer: {{name: Customer}}\n{extra}  entitlements:\n    - repositories: ['**']\n"
    )


def read(text: str, file: str = "a.yaml") -> FileContent:
    """The content of `file`."""
    return read_documents(text, file)


def test_a_mistake_is_told_with_its_line_and_leaves_its_neighbours_readable() -> None:
    content = read(license_text("acme", "  expiresAt: x\n") + "---\n" + license_text("beta"))
    assert [str(p) for p in content.problems] == [
        "a.yaml:6: License acme: spec.expiresAt: 'x' is not a time; write it like 2027-01-01T00:00:00Z"
    ]
    assert set(content.documents) == {BETA}
    assert content.bad == {ACME}
    assert not content.unreadable


def test_broken_yaml_costs_one_document() -> None:
    content = read(license_text("acme") + "---\nkind: [\n---\n" + license_text("beta"))
    assert set(content.documents) == {ACME, BETA}
    assert [p.line for p in content.problems] == [10]
    assert content.unreadable


def test_lines_are_counted_through_all_documents() -> None:
    text = "# head\n---\n" + license_text("acme") + "---  # tail\n\n" + license_text("beta", "  expiresAt: x\n")
    assert [p.line for p in read(text).problems] == [17]


def test_a_time_stays_text_and_a_field_that_is_there_twice_is_told() -> None:
    good = read(license_text("acme", "  expiresAt: 2027-01-01T00:00:00Z\n"))
    assert good.documents[ACME].document["spec"]["expiresAt"] == "2027-01-01T00:00:00Z"
    twice = read(license_text("acme", "  customer: {name: Other}\n"))
    assert "the field customer is there twice" in twice.problems[0].message


def test_lists_are_taken_apart_and_other_kinds_passed_over() -> None:
    indented = license_text("acme").replace("\n", "\n  ")
    text = f"apiVersion: v1\nkind: List\nitems:\n- {indented}\n- apiVersion: v1\n  kind: Namespace\n"
    content = read(text)
    assert set(content.documents) == {ACME}
    assert content.problems == []


def test_a_mistake_in_json_is_told_with_its_line() -> None:
    content = read('{\n\t"apiVersion": "v1",\n\t"kind": "Secret"\n\t"metadata": {}\n}', "a.json")
    assert str(content.problems[0]).startswith("a.json:4: is not JSON: Expecting ',' delimiter")


def test_yaml_that_is_wrong_is_told_without_its_content() -> None:
    content = read("kind: Secret\nstringData: {password: 'hunter2\n")
    assert content.problems
    assert "hunter2" not in str(content.problems)


def merged(*versions: dict[str, str]) -> FolderContent:
    """A folder whose files were written in these versions."""
    folder = FolderContent()
    before: dict[str, str] = {}
    for version in versions:
        changed = {p: read(t, p) for p, t in version.items() if before.get(p) != t}
        folder.update({**changed, **dict.fromkeys(before.keys() - version.keys())}, "dir")
        before = version
    return folder


def test_the_last_good_version_of_what_is_wrong_now_goes_on() -> None:
    good = {"a.yaml": license_text("acme") + "---\n" + license_text("beta")}
    bad = {"a.yaml": license_text("acme", "  expiresAt: x\n")}
    assert set(merged(good, bad).documents) == {ACME}  # beta was removed, and that is plain to see
    unreadable = {"a.yaml": "kind: ["}
    assert set(merged(good, unreadable).documents) == {ACME, BETA}
    assert set(merged(good, unreadable, {"a.yaml": license_text("beta")}).documents) == {BETA}


def test_of_two_files_with_one_resource_the_one_that_was_there_first_is_served() -> None:
    first, second = license_text("acme"), license_text("acme", "  expiresAt: 2027-01-01T00:00:00Z\n")
    folder = merged({"b.yaml": first}, {"b.yaml": first, "a.yaml": second})
    assert "expiresAt" not in folder.documents[ACME]["spec"]
    assert "License acme: is in dir/b.yaml already" in str(folder.problems)
    folder = merged({"b.yaml": first}, {"b.yaml": first, "a.yaml": second}, {"a.yaml": second})
    assert "expiresAt" in folder.documents[ACME]["spec"]
    assert folder.problems == ()


def test_a_file_that_is_nested_without_end_is_told_and_ends_nothing() -> None:
    for text in ("[" * 60_000, "{a: " * 30_000, "- " * 30_000):
        content = read_documents(text, "deep.yaml")
        assert [problem.message for problem in content.problems] == ["is nested too deep"]
