"""A folder as the store: the vendor's YAML, and below `.pullgate` what a cluster would hold as status and Secrets."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pullgate.providers.exchange import ExchangeFailed
from pullgate.providers.handoff import SYSTEM_NAMESPACE
from pullgate.resources.fields import format_time, parse_time
from pullgate.store.documents import FileContent, FileProblem
from pullgate.store.feed import Feeds
from pullgate.store.files import Signature, remove, write_whole
from pullgate.store.loss import lost_at_once, words_for_loss
from pullgate.store.merge import FolderContent
from pullgate.store.port import Change, Document, Key, StoreUnavailable, Synced
from pullgate.store.private import FolderInUse, PrivateFolder
from pullgate.store.records import Record, complete, encode_record, next_record
from pullgate.store.scan import FolderScanner
from pullgate.store.secret_file import encode_secret, same_secret, secret_key, secret_path

__all__ = ["FileProblem", "FolderInUse", "FolderStore"]

POLL_SECONDS = 0.2
SETTLE_SECONDS = 0.1
"""Between seeing a change and the second look that confirms it."""

SECRETS_EVERY = 5
"""Looks at the vendor's files for one at our own Secrets: there are many more of these, and few people touch them."""

log = logging.getLogger(__name__)


class FolderStore:
    """See `pullgate.store.port.Store`. Used from one event loop; blocking work runs in a thread."""

    def __init__(
        self,
        directory: Path,
        *,
        on_problem: Callable[[FileProblem], None] = lambda problem: log.warning("%s", problem),
        on_mended: Callable[[str], None] = lambda file: log.info("%s: mended", file),
        on_event: Callable[[Key, str, str, str], None] = lambda key, type_, reason, message: None,
    ) -> None:
        self.directory = directory
        self.problems: tuple[FileProblem, ...] = ()
        """The mistakes that the files hold now."""
        self.writes = 0
        """Files written or removed so far, events aside."""
        self._on_problem, self._on_mended, self._on_event = on_problem, on_mended, on_event
        self._private = PrivateFolder(directory)
        self._scanner = FolderScanner(directory)
        self._secret_scanner = FolderScanner(self._private.secrets)
        self._content = FolderContent()
        self._secret_problems: dict[str, list[FileProblem]] = {}
        self._records: dict[Key, Record] = {}
        self._own_secrets: dict[Key, Document] = {}
        self._documents: dict[Key, Document] = {}
        self._feeds = Feeds()
        self._writing = asyncio.Lock()
        self._behind = True
        """True if the files hold changes that readers do not see yet."""
        self._looks = 0
        self._loss: tuple[FileProblem, ...] = ()
        """The problems of a folder that lost all at once. Its documents are served on."""
        self._poller: asyncio.Task[None] | None = None

    # --- life ---

    async def start(self) -> None:
        """Read everything, then follow. Raises FolderInUse, OSError and StoreUnavailable if it cannot be used."""
        await asyncio.to_thread(self._private.open)
        self._records = await asyncio.to_thread(self._private.read_records)
        await self._look(at_once=True)
        self._poller = asyncio.create_task(self._poll(), name="folder poll")

    async def stop(self) -> None:
        """Stop following; release the folder."""
        if self._poller is not None:
            self._poller.cancel()
            await asyncio.gather(self._poller, return_exceptions=True)
        async with self._writing:
            self._private.close()

    # --- reading ---

    def watch(self, kinds: frozenset[str]) -> AsyncIterator[Change | Synced]:
        """See Store."""
        return self._feeds.watch(kinds, lambda: [(k, d) for k, d in self._documents.items() if k.kind in kinds])

    async def get(self, key: Key) -> Document | None:
        """See Store."""
        return self._documents.get(key)

    async def list(self, kind: str, namespace: str | None = None) -> list[Document]:
        """See Store."""
        return [d for k, d in self._documents.items() if k.kind == kind and namespace in {None, k.namespace}]

    async def fetch(self, key: Key) -> Document | None:
        """See Store."""
        return self._documents.get(key)

    async def gone_since(self, key: Key) -> datetime | None:
        """See Store."""
        record = self._records.get(key)
        return parse_time(record.gone) if record is not None and record.gone else None

    async def forget(self, key: Key) -> None:
        """See Store."""
        async with self._writing:
            record = self._records.get(key)
            if record is not None and record.gone:
                await self._remove(self._private.record_path(key))
                del self._records[key]

    async def request_token(self, namespace: str, service_account: str, audience: str) -> str:
        """See Store: a folder has no ServiceAccounts."""
        raise ExchangeFailed(
            "IdentityMissing",
            f"there is no ServiceAccount {service_account} here: this is no cluster",
            "leave out serviceAccountName to use the identity of this process",
        )

    # --- writing ---

    async def patch_status(self, key: Key, status: Mapping[str, Any]) -> None:
        """See Store."""
        async with self._writing:
            record = self._records.get(key)
            if record is None or record.gone or record.status == status:
                return
            changed = record.with_status(status)
            await self._save_record(key, changed)
            self._show(key, complete(key, changed.document, changed))

    async def apply_secret(self, document: Document) -> None:
        """See Store."""
        metadata = document["metadata"]
        key = Key("Secret", metadata["namespace"], metadata["name"])
        async with self._writing:
            if key in self._content.documents:
                raise StoreUnavailable(f"Secret {key.name} is in one of your own files; give it another name")
            if same_secret(self._documents.get(key), document):
                return
            path = secret_path(key)
            if path in self._secret_problems and key not in self._own_secrets and key.namespace != SYSTEM_NAMESPACE:
                raise StoreUnavailable(
                    f"{self._private.secrets / path} holds a key and cannot be read; mend or remove it"
                )
            signature = await self._write(self._private.secrets / path, encode_secret(document))
            self._secret_scanner.note_own_write(path, signature)
            self._secret_problems.pop(path, None)
            self._own_secrets[key] = document
            self._show(key, document)

    async def delete_secret(self, namespace: str, name: str) -> None:
        """See Store."""
        key = Key("Secret", namespace, name)
        async with self._writing:
            if key not in self._own_secrets:
                return
            path = secret_path(key)
            await self._remove(self._private.secrets / path)
            self._secret_scanner.note_own_write(path, None)
            del self._own_secrets[key]
            self._show(key, self._content.documents.get(key))

    async def record_event(self, key: Key, type_: str, reason: str, message: str) -> None:
        """See Store. Events are lines of .pullgate/events.jsonl, of bounded size."""
        async with self._writing:
            try:
                await asyncio.to_thread(self._private.append_event, key, type_, reason, message)
            except OSError as error:
                log.warning("an event is not kept: %s", error)
        self._on_event(key, type_, reason, message)

    # --- following the files ---

    async def _poll(self) -> None:
        spent = 0.0
        while True:
            unsettled = self._scanner.unsettled or self._secret_scanner.unsettled
            # A large folder is looked at less often: never more than a fifth of one thread's time.
            await asyncio.sleep(max(SETTLE_SECONDS if unsettled else POLL_SECONDS, 4 * spent))
            started = time.monotonic()
            try:
                await self._look()
            except OSError as error:
                self._report((FileProblem(str(self.directory), 1, f"cannot be read: {error.strerror}"),))
            except StoreUnavailable as error:
                self._report((FileProblem(str(self.directory), 1, str(error)),))
            except Exception:
                log.exception("reading %s failed; it is tried again", self.directory)
            spent = time.monotonic() - started

    async def _look(self, *, at_once: bool = False) -> None:
        await self._keep_private()
        changed = await asyncio.to_thread(self._scanner.scan, at_once=at_once)
        async with self._writing:
            if changed:
                self._content.update(changed, str(self.directory))
                self._behind = True
            if self._secret_scanner.unsettled or self._looks % SECRETS_EVERY == 0:
                await self._look_at_secrets(at_once=at_once)
            self._looks += 1
            if self._behind:
                await self._take_documents()
                self._behind = False
        of_secrets = (p for rows in self._secret_problems.values() for p in rows)
        self._report((*self._content.problems, *of_secrets, *self._loss))

    async def _keep_private(self) -> None:
        """Make .pullgate again if somebody removed it: nothing else holds the keys.

        Raises StoreUnavailable if the whole folder is another one: its missing files do not count as removed.
        """
        if await asyncio.to_thread(self._private.is_there):
            return
        async with self._writing:
            if not await asyncio.to_thread(self._private.reopen):
                raise StoreUnavailable("is not the folder that was opened: what was last good goes on; put it back")
            log.warning("%s was removed: it is written again", self._private.path)
            await self._write_secrets()
            for key, record in self._records.items():
                await self._save_record(key, record)

    async def _write_secrets(self) -> None:
        for key, document in self._own_secrets.items():
            path = secret_path(key)
            signature = await self._write(self._private.secrets / path, encode_secret(document))
            self._secret_scanner.note_own_write(path, signature)

    async def _look_at_secrets(self, *, at_once: bool) -> None:
        changed = await asyncio.to_thread(self._secret_scanner.scan, at_once=at_once)
        gone = {secret_key(path) for path, content in changed.items() if content is None}
        if len(gone) > 1 and gone >= self._own_secrets.keys():
            log.warning("all Secrets below %s were gone at once: they are written again", self._private.secrets)
            await self._write_secrets()
        else:
            self._take_own_secrets(changed)

    async def _take_documents(self) -> None:
        wanted = self._content.documents
        lost = lost_at_once([key for key, record in self._records.items() if not record.gone], wanted)
        self._loss = (FileProblem(str(self.directory), 1, words_for_loss(lost)),) if lost else ()
        for key, record in list(self._records.items()):
            if key in wanted or record.gone:
                continue
            if key in lost or self._content.in_doubt(key, record.file):
                # Also if its file is unreadable since the start: the last good version stays.
                self._show(key, complete(key, record.document, record))
                continue
            await self._let_go(key, record)
            self._show(key, None)
        for key in [k for k in self._documents if k.kind in {"Secret", "ConfigMap"} and k not in wanted]:
            self._show(key, self._own_secrets.get(key))
        for key, document in wanted.items():
            self._show(key, complete(key, document, await self._record(key, document)))

    async def _let_go(self, key: Key, record: Record) -> None:
        """A resource that its file no longer holds. A License with keys is kept until `forget`: it may come back."""
        if key.kind == "License" and record.status.get("keys"):
            await self._save_record(key, replace(record, gone=format_time(datetime.now(UTC))))
            return
        await self._remove(self._private.record_path(key))
        del self._records[key]

    async def _record(self, key: Key, document: Document) -> Record | None:
        if key.kind in {"Secret", "ConfigMap"}:
            return None
        before = self._records.get(key)
        record = next_record(before, document, self._content.file_of(key), datetime.now(UTC))
        if record is not before:
            await self._save_record(key, record)
        return record

    def _take_own_secrets(self, changed: Mapping[str, FileContent | None]) -> None:
        """Files below .pullgate/secrets that a person altered or removed, or, at the start, all of them."""
        for path, content in changed.items():
            key = secret_key(path)
            self._secret_problems.pop(path, None)
            if key is None:
                continue
            if content is None:
                self._own_secrets.pop(key, None)
            elif key in content.documents:
                self._own_secrets[key] = content.documents[key].document
            elif content.problems:
                self._secret_problems[path] = content.problems
                continue
            if key not in self._content.documents:
                self._show(key, self._own_secrets.get(key))

    def _show(self, key: Key, document: Document | None) -> None:
        """Make `document` what readers see, and tell watchers if it differs."""
        if self._documents.get(key) == document:
            return
        if document is None:
            del self._documents[key]
        else:
            self._documents[key] = document
        self._feeds.publish(key, document)

    def _report(self, problems: tuple[FileProblem, ...]) -> None:
        known, files = set(self.problems), {problem.file for problem in problems}
        mended = {problem.file for problem in self.problems} - files
        self.problems = problems
        for problem in problems:
            if problem not in known:
                self._on_problem(problem)
        for file in sorted(mended):
            self._on_mended(file)

    # --- files ---

    async def _save_record(self, key: Key, record: Record) -> None:
        await self._write(self._private.record_path(key), encode_record(key, record))
        self._records[key] = record

    async def _write(self, path: Path, text: str) -> Signature:
        self.writes += 1
        await self._require_private(path)
        try:
            return await asyncio.to_thread(write_whole, path, text)
        except OSError as error:
            raise StoreUnavailable(f"{path} cannot be written: {error.strerror}") from error

    async def _require_private(self, path: Path) -> None:
        """A write would make a folder anew that was moved or unmounted, and it would look like an empty one."""
        if not await asyncio.to_thread(self._private.is_there):
            raise StoreUnavailable(f"{path} is not written: .pullgate is gone, or another one")

    async def _remove(self, path: Path) -> None:
        self.writes += 1
        await self._require_private(path)
        try:
            await asyncio.to_thread(remove, path)
        except OSError as error:
            raise StoreUnavailable(f"{path} cannot be removed: {error.strerror}") from error
