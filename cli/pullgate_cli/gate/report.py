"""The report of a gate, in its formats: JSON, YAML, Markdown, JUnit, SARIF, GitHub's annotations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from pullgate.clean_text import clean
from pullgate_cli.printing import render_json, render_yaml

if TYPE_CHECKING:
    from pullgate.upstream.probe import ImageResult

VENDOR = "vendor"
SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


@dataclass(frozen=True, slots=True)
class Place:
    """A place that names an image."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Asked:
    """All images, asked as one of those who may pull them."""

    who: str
    """A License's name, or "vendor"."""
    results: tuple[ImageResult, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """A whole gate."""

    runs: tuple[Asked, ...]
    seconds: float
    places: Mapping[str, tuple[Place, ...]]
    """Image -> where it is named."""

    @property
    def passed(self) -> bool:
        """True if everybody can pull everything."""
        return all(result.passed for run in self.runs for result in run.results)

    @property
    def summary(self) -> str:
        """`11/12 passed`."""
        results = [result for run in self.runs for result in run.results]
        return f"{sum(result.passed for result in results)}/{len(results)} passed"

    def notices(self) -> list[tuple[str, str]]:
        """(License or "vendor", the proxy's notice to its tests); each once."""
        return list(dict.fromkeys((run.who, r.notice) for run in self.runs for r in run.results if r.notice))

    def failures(self) -> list[tuple[str, ImageResult]]:
        """(License or "vendor", the failed result)."""
        return [(run.who, result) for run in self.runs for result in run.results if not result.passed]


def actors_of(reason: str) -> list[str]:
    """The actors who must act."""
    from pullgate.faults import FAULTS

    fault = FAULTS.get(reason)
    return [str(actor) for actor in fault.actors] if fault is not None else [VENDOR]


def to_data(report: Report) -> dict[str, Any]:
    """As JSON values; the shape is docs/gate.md's."""
    return {
        "passed": report.passed,
        "summary": report.summary,
        "seconds": round(report.seconds, 3),
        "runs": [{"as": run.who, "results": [_result(r, report) for r in run.results]} for run in report.runs],
    }


def _result(result: ImageResult, report: Report) -> dict[str, Any]:
    found: dict[str, Any] = {"image": result.image, "passed": result.passed}
    if not result.passed:
        found |= {"reason": result.reason, "message": result.message, "hint": result.hint}
        found["actors"] = actors_of(result.reason)
    if result.notice:
        found["notice"] = result.notice
    found |= {"digest": result.digest, "size": result.size, "duration": round(result.duration, 4)}
    found["platforms"] = [_platform(platform) for platform in result.platforms]
    found["sources"] = [str(place) for place in report.places.get(result.image, ())]
    return found


def _platform(platform: Any) -> dict[str, Any]:
    found = {"platform": platform.platform, "passed": platform.passed}
    if not platform.passed:
        found |= {"reason": platform.reason, "message": platform.message, "hint": platform.hint}
    return {**found, "digest": platform.digest, "size": platform.size}


# --- for people --------------------------------------------------------------------------------------------------


def to_markdown(report: Report) -> str:
    """For a pull request's comment or a job's summary."""
    mark = "✅" if report.passed else "❌"
    lines = [f"### {mark} {report.summary} ({report.seconds:.1f} s)", ""]
    lines += ["| | as | image | | whose move | next step |", "|---|---|---|---|---|---|"]
    for run in report.runs:
        for result in sorted(run.results, key=lambda r: r.passed):
            what = "" if result.passed else f"**{result.reason}**: {_cell(result.message)}"
            who = "" if result.passed else ", ".join(actors_of(result.reason))
            row = ("✅" if result.passed else "❌", _cell(run.who), f"`{_cell(result.image)}`", what, who)
            lines.append("| " + " | ".join((*row, _cell(result.hint))) + " |")
    lines += ["", *(f"> as {_cell(who)}: {_cell(notice)}" for who, notice in report.notices())]
    return "\n".join(lines).rstrip("\n") + "\n"


def _cell(text: str) -> str:
    return clean(text).replace("|", "\\|").replace("\n", " ").replace("`", "'")


# --- for programs ------------------------------------------------------------------------------------------------


def to_junit(report: Report) -> str:
    """A suite for each who asks, a case for each image (the format that Jenkins and GitLab read)."""
    total, failed = sum(len(run.results) for run in report.runs), len(report.failures())
    counts = {"tests": str(total), "failures": str(failed), "errors": "0", "time": f"{report.seconds:.3f}"}
    root = ElementTree.Element("testsuites", {"name": "pullgate gate", **counts})
    for run in report.runs:
        bad = sum(not result.passed for result in run.results)
        seconds = sum(result.duration for result in run.results)
        counts = {"tests": str(len(run.results)), "failures": str(bad), "errors": "0", "time": f"{seconds:.3f}"}
        suite = ElementTree.SubElement(root, "testsuite", {"name": f"as {_xml(run.who)}", **counts})
        for result in run.results:
            about = {"name": _xml(result.image), "classname": f"pullgate.{_xml(run.who)}"}
            case = ElementTree.SubElement(suite, "testcase", {**about, "time": f"{result.duration:.3f}"})
            if not result.passed:
                failure = ElementTree.SubElement(
                    case, "failure", {"type": result.reason, "message": _xml(result.message)}
                )
                failure.text = _xml(_paragraph(result, report))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _xml(text: str) -> str:
    """Without what XML 1.0 cannot hold (section 2.2), or a terminal would obey."""
    return "".join(c for c in clean(text, lines=True) if c not in "\ufffe\uffff")


def _paragraph(result: ImageResult, report: Report) -> str:
    lines = [f"{result.reason}: {result.message}", f"move of: {', '.join(actors_of(result.reason))}"]
    lines += [f"next: {result.hint}"] if result.hint else []
    lines += [f"named in {place}" for place in report.places.get(result.image, ())[:20]]
    return "\n".join(lines)


def to_sarif(report: Report) -> str:
    """A rule for each reason, a result for each image that fails (SARIF 2.1.0)."""
    from pullgate.faults import FAULTS

    reasons = list(dict.fromkeys(result.reason for _, result in report.failures()))
    rules = []
    for reason in reasons:
        fault = FAULTS.get(reason)
        words = (fault.__doc__ or reason).strip().splitlines()[0] if fault is not None else "No Registry is for it."
        rules.append({"id": reason, "name": reason, "shortDescription": {"text": words}})
    results = []
    for who, result in report.failures():
        text = f"{result.image} (as {who}): {_paragraph(result, report)}"
        entry: dict[str, Any] = {
            "ruleId": result.reason,
            "ruleIndex": reasons.index(result.reason),
            "level": "error",
            "message": {"text": text},
            "partialFingerprints": {"pullgate/v1": f"{who}/{result.image}/{result.reason}"},
        }
        if places := report.places.get(result.image, ()):
            entry["locations"] = [_location(place) for place in places[:10]]
        results.append(entry)
    driver = {"name": "pullgate", "informationUri": "https://pullgate.dev", "rules": rules}
    log = {"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}
    return render_json(log)


def _location(place: Place) -> dict[str, Any]:
    physical: dict[str, Any] = {"artifactLocation": {"uri": place.file}}
    if place.line:
        physical["region"] = {"startLine": place.line}
    return {"physicalLocation": physical}


def to_github(report: Report) -> str:
    """Workflow commands: an annotation for each failure, at the line that names the image."""
    lines = []
    for who, result in report.failures():
        places: Sequence[Place | None] = report.places.get(result.image) or (None,)
        for place in places[:10]:
            where = f"file={_property(place.file)},line={place.line or 1}," if place is not None else ""
            title = _property(f"{result.reason}: {result.image}")
            words = f"{result.message}. As {who}; move of: {', '.join(actors_of(result.reason))}. {result.hint}"
            lines.append(f"::error {where}title={title}::{_escape(words)}")
    return "".join(line + "\n" for line in lines)


def _escape(text: str) -> str:
    return clean(text, lines=True).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escape(text).replace(":", "%3A").replace(",", "%2C")


def _to_json(report: Report) -> str:
    return render_json(to_data(report))


def _to_yaml(report: Report) -> str:
    return render_yaml(to_data(report))


FORMATS: dict[str, Callable[[Report], str]] = {
    "json": _to_json,
    "yaml": _to_yaml,
    "markdown": to_markdown,
    "junit": to_junit,
    "sarif": to_sarif,
    "github": to_github,
}
