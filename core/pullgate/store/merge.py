"""The merged files: each resource once; of a resource with mistakes, the last good version. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pullgate.store.documents import FileContent, FileProblem, Found
from pullgate.store.port import Document, Key


@dataclass(slots=True)
class FolderContent:
    """All files of a folder."""

    documents: dict[Key, Document] = field(default_factory=dict)
    problems: tuple[FileProblem, ...] = ()
    _files: dict[str, FileContent] = field(default_factory=dict)
    _owners: dict[Key, str] = field(default_factory=dict)

    def update(self, changed: Mapping[str, FileContent | None], shown_as: str) -> None:
        """Take in the files that changed (None: gone), by relative path."""
        for path, content in changed.items():
            before = self._files.get(path)
            if content is None:
                self._files.pop(path, None)
                continue
            self._files[path] = content
            if before is not None:
                _keep_last_good(content, before)
        self._join(shown_as)

    def file_of(self, key: Key) -> str:
        """The file that holds `key`, by relative path."""
        return self._owners.get(key, "")

    def in_doubt(self, key: Key, file: str) -> bool:
        """True if `file`, which held `key`, cannot be read well enough to say that `key` is gone."""
        content = self._files.get(file)
        return content is not None and (content.unreadable or key in content.bad)

    def _join(self, shown_as: str) -> None:
        owners: dict[Key, str] = {
            key: path
            for key, path in self._owners.items()
            if path in self._files and key in self._files[path].documents
        }
        documents: dict[Key, Document] = {}
        problems: list[FileProblem] = []
        for path in sorted(self._files):
            content = self._files[path]
            problems += content.problems
            for key, found in content.documents.items():
                owner = owners.setdefault(key, path)
                if owner == path:
                    documents[key] = found.document
                else:
                    problems.append(_duplicate(key, found, f"{shown_as}/{path}", f"{shown_as}/{owner}"))
        self.documents, self.problems, self._owners = documents, tuple(problems), owners


def _keep_last_good(content: FileContent, before: FileContent) -> None:
    """A resource that is wrong now stays as it was; if a part is unreadable, nothing counts as gone."""
    for key, found in before.documents.items():
        if key not in content.documents and (key in content.bad or content.unreadable):
            content.documents[key] = found


def _duplicate(key: Key, found: Found, file: str, owner: str) -> FileProblem:
    message = f"{key.kind} {key.name}: is in {owner} already, for the same namespace; remove one of them"
    return FileProblem(file, found.line, message)
