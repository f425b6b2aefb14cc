"""See what changed in a folder, by polling: it works on every file system, network mounts and ConfigMaps included.

Blocking; called in a thread, by one caller at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pullgate.store.documents import FileContent, FileProblem, read_documents
from pullgate.store.files import Signature, list_files, read_text, sign

GONE_LOOKS = 5
"""Consecutive looks before a missing file counts as gone, even in a folder that changes all the time."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """A change that a second look must confirm."""

    signature: Signature | None
    """None: the file is missing."""
    folder: Signature | None = None
    """Signature of the folder that it is missing in: the same one twice means that nothing came and went in between."""
    looks: int = 1


class FolderScanner:
    """Reads the files of a folder that changed since the last look.

    A change counts when a second look finds the same: editors truncate or remove a file for a moment before they
    write it anew, and a License that is gone for a moment would lose its key.
    """

    def __init__(self, root: Path, *, shown_as: str | None = None) -> None:
        self._root = root
        self._shown_as = str(root) if shown_as is None else shown_as
        self._known: dict[str, Signature] = {}
        self._unsettled: dict[str, _Seen] = {}

    @property
    def unsettled(self) -> bool:
        """True if a second look must confirm a change."""
        return bool(self._unsettled)

    def scan(self, *, at_once: bool = False) -> dict[str, FileContent | None]:
        """The files that changed, by relative path; None for one that is gone.

        `at_once` believes the first look. Raises OSError when the folder cannot be read; then nothing counts as gone.
        """
        seen = list_files(self._root)
        differing = {path: _Seen(found) for path, found in seen.items() if self._known.get(path) != found}
        differing.update({path: self._missing(path) for path in self._known if path not in seen})
        settled = {path for path, found in differing.items() if at_once or self._confirms(path, found)}
        self._unsettled = {path: found for path, found in differing.items() if path not in settled}
        return {path: self._read(path, differing[path].signature) for path in settled}

    def note_own_write(self, path: str, signature: Signature | None) -> None:
        """A file that this process wrote (or, None, removed) is no news."""
        self._unsettled.pop(path, None)
        if signature is None:
            self._known.pop(path, None)
        else:
            self._known[path] = signature

    def _missing(self, path: str) -> _Seen:
        before = self._unsettled.get(path)
        looks = before.looks + 1 if before is not None and before.signature is None else 1
        try:
            folder = sign((self._root / path).parent.stat())
        except OSError:
            folder = None
        return _Seen(None, folder, looks)

    def _confirms(self, path: str, found: _Seen) -> bool:
        before = self._unsettled.get(path)
        if before is None or before.signature != found.signature:
            return False
        return found.signature is not None or before.folder == found.folder or found.looks >= GONE_LOOKS

    def _read(self, path: str, signature: Signature | None) -> FileContent | None:
        if signature is None:
            self._known.pop(path, None)
            return None
        self._known[path] = signature
        shown = f"{self._shown_as}/{path}"
        try:
            return read_documents(read_text(self._root / path), shown)
        except OSError as error:
            words = f"cannot be read: {error.strerror}"
        except ValueError as error:
            words = str(error)
        return FileContent({}, [FileProblem(shown, 1, words)], set(), unreadable=True)
