"""The folder `.pullgate`: records and Secrets as files, the lock, events. Blocking; called in a thread."""

from __future__ import annotations

import fcntl
import json
import logging
import os
from datetime import UTC, datetime
from pathlib import Path

from pullgate.resources.fields import format_time
from pullgate.store.files import make_private, read_text, write_whole
from pullgate.store.port import Key
from pullgate.store.records import Record, decode_record

SERVING = "serving.json"
IGNORE_ALL = "# It holds keys.\n*\n"
EVENTS_LIMIT = 1024 * 1024
"""Bytes of events.jsonl; the file before it is kept too."""

log = logging.getLogger(__name__)


class FolderInUse(Exception):
    """Another process serves the folder."""


class PrivateFolder:
    """Paths and files below `.pullgate`, for the owner only."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / ".pullgate"
        self.secrets = self.path / "secrets"
        self.status = self.path / "status"
        self._directory = directory
        self._lock: int | None = None
        self._folder = (0, 0)

    def open(self) -> None:
        """Make the folder and lock it. Raises FolderInUse, OSError."""
        if not self._directory.is_dir():
            raise NotADirectoryError(f"{self._directory} is not a folder")
        make_private(self.secrets)
        make_private(self.status)
        ignore = self.path / ".gitignore"
        if not ignore.exists():
            write_whole(ignore, IGNORE_ALL)
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise FolderInUse(f"{self._directory} is served by another process") from error
        self._lock = descriptor
        self._folder = _identity(self._directory.stat())

    def is_there(self) -> bool:
        """True while the folder is the one that was opened, and complete."""
        try:
            lock = _identity((self.path / "lock").stat())
        except OSError:
            return False
        held = self._lock is not None and _identity(os.fstat(self._lock)) == lock
        return held and self.secrets.is_dir() and self.status.is_dir()

    def reopen(self) -> bool:
        """Make it again after it was removed. Returns False if its parent folder is not the one that was opened.

        Raises FolderInUse, OSError.
        """
        try:
            if _identity(self._directory.stat()) != self._folder:
                return False
        except FileNotFoundError:
            return False
        self.close()
        self.open()
        return True

    def close(self) -> None:
        """Release the lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def is_held(self) -> bool:
        """True if a process serves the folder now."""
        try:
            descriptor = os.open(self.path / "lock", os.O_RDONLY)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(descriptor)
        return False

    def write_serving(self, url: str, admin: str) -> None:
        """Note, for `pullgate doctor`, the URL for customers and HOST:PORT of the admin port. Raises OSError."""
        write_whole(self.path / SERVING, json.dumps({"url": url, "admin": admin}) + "\n")

    def read_serving(self) -> tuple[str, str]:
        """The URL and the admin port that the serving process noted; two empty texts if it noted none."""
        try:
            found = json.loads(read_text(self.path / SERVING))
            return str(found["url"]), str(found["admin"])
        except (OSError, ValueError, LookupError, TypeError):
            return "", ""

    def record_path(self, key: Key) -> Path:
        """The file of a resource's record."""
        return self.status / key.namespace / f"{key.kind.lower()}.{key.name}.yaml"

    def read_records(self) -> dict[Key, Record]:
        """All records; one that cannot be read is logged and made anew later."""
        records = {}
        for path in sorted(self.status.glob("*/*.yaml")):
            try:
                key, record = decode_record(read_text(path))
            except (OSError, ValueError) as error:
                log.warning("%s is made anew: %s", path, error)
                continue
            if self.record_path(key) == path:
                records[key] = record
        return records

    def append_event(self, key: Key, type_: str, reason: str, message: str) -> None:
        """Add a line to events.jsonl, which is kept to a bounded size."""
        path = self.path / "events.jsonl"
        if path.exists() and path.stat().st_size > EVENTS_LIMIT:
            path.replace(self.path / "events.1.jsonl")
        event = {"time": format_time(datetime.now(UTC)), **key._asdict(), "type": type_, "reason": reason}
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(json.dumps({**event, "message": message}) + "\n")


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
