"""A bundle in pieces, from a browser → our own copy of it, whole; what arrived stays for as long as it may go on."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from pydantic import BaseModel, ConfigDict, ValidationError

from edgemgr.bundles.whole_file import write_whole
from edgemgr.errors import ConflictError, NotFoundError, UsageError
from edgemgr.inventory.bundle_room import check_upload_room
from edgemgr.inventory.incoming import make_private
from edgemgr.settings import Settings

#: Pieces are at most so large: what one cut connection can cost at most.
PIECE_BYTES = 8 << 20
#: Uploads that may be unfinished at the same time; more would let anybody fill the quota with nothing.
_OPEN_MAX = 4
#: An upload that nobody goes on with, and the record of one that ended, are kept for so long, seconds.
_KEPT_S = 7 * 86400.0
_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)


def sync(file: BinaryIO) -> None:
    """Let a piece survive a power loss."""
    file.flush()
    os.fsync(file.fileno())


class UploadState(StrEnum):
    """How far an upload came."""

    RECEIVING = "receiving"  #: bytes are missing
    RECEIVED = "received"  #: all of it is here; it is imported, or waits for that
    IMPORTED = "imported"
    REFUSED = "refused"


class Verdict(BaseModel):
    """How an upload ended."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    state: UploadState
    message: str
    code: str = ""
    hint: str = ""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    size_bytes: int
    modified_ms: int
    verdict: Verdict | None = None


@dataclass(frozen=True)
class Upload:
    """One upload as it stands."""

    id: str
    name: str
    size_bytes: int
    offset: int  #: bytes that are here
    state: UploadState
    message: str = ""
    code: str = ""
    hint: str = ""


class Uploads:
    """`incoming/uploads/ID/`: the file as far as it came, and a record of what it is to be."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._directory = settings.incoming_dir / "uploads"

    def begin(self, name: str, size_bytes: int, modified_ms: int) -> Upload:
        """Begin an upload, or find the one of the same file that broke off.

        Args:
            name: the file's name, for people.
            size_bytes: its size.
            modified_ms: when it was last changed, milliseconds since 1970: with name and size it tells it from others.

        Raises:
            BundleError: too large, or no room (E-B060, E-BUNDLE-QUOTA).
            UsageError: the name or the size is none (E-BUNDLE-UPLOAD).
            ConflictError: too many uploads are unfinished (E-BUNDLE-UPLOADS).
        """
        if size_bytes < 1 or not name or len(name) > 255 or not name.isprintable():  # noqa: PLR2004 - of a file system
            raise UsageError(
                "an upload needs the name and the size of a file", hint="Choose the file again.", code="E-BUNDLE-UPLOAD"
            )
        self.drop_old()
        wanted = _Record(name=name, size_bytes=size_bytes, modified_ms=modified_ms)
        open_ones = [upload for upload in self.all() if upload.state in (UploadState.RECEIVING, UploadState.RECEIVED)]
        for upload in open_ones:
            if self._record(upload.id) == wanted:
                return upload
        if len(open_ones) >= _OPEN_MAX:
            raise ConflictError(
                f"{len(open_ones)} uploads are unfinished already",
                hint="Finish or discard one of them on the page of bundles.",
                code="E-BUNDLE-UPLOADS",
            )
        promised = sum(upload.size_bytes - upload.offset for upload in open_ones)
        check_upload_room(self._settings, size_bytes, promised_bytes=promised)
        make_private(self._settings.incoming_dir)
        make_private(self._directory)
        upload_id = secrets.token_hex(16)
        make_private(self._directory / upload_id)
        self._file(upload_id).touch(mode=0o600)
        self._keep(upload_id, wanted)
        return self.get(upload_id)

    def get(self, upload_id: str) -> Upload:
        """One upload.

        Raises:
            NotFoundError: there is none (E-BUNDLE-UPLOAD-UNKNOWN).
        """
        record = self._record(upload_id)
        if record is None:
            raise NotFoundError(
                "there is no such upload", hint="Choose the file again.", code="E-BUNDLE-UPLOAD-UNKNOWN"
            )
        if record.verdict is not None:
            verdict = record.verdict
            return Upload(
                upload_id,
                record.name,
                record.size_bytes,
                record.size_bytes,
                verdict.state,
                verdict.message,
                verdict.code,
                verdict.hint,
            )
        file = self._file(upload_id)
        offset = file.stat().st_size if file.is_file() else 0
        state = UploadState.RECEIVED if offset >= record.size_bytes else UploadState.RECEIVING
        return Upload(upload_id, record.name, record.size_bytes, offset, state)

    def all(self) -> list[Upload]:
        """Every upload, the newest first."""
        found = list(self._directory.iterdir()) if self._directory.is_dir() else []
        known = [path for path in found if self._record(path.name) is not None]
        return [self.get(path.name) for path in sorted(known, key=lambda path: path.stat().st_mtime, reverse=True)]

    def path(self, upload_id: str) -> Path:
        """The file of an upload that is whole.

        Raises:
            NotFoundError: there is no such upload.
        """
        self.get(upload_id)
        return self._file(upload_id)

    @contextmanager
    def piece(self, upload_id: str, offset: int, length: int) -> Iterator[BinaryIO]:
        """The file, open to take a piece; what was written of one that breaks off counts, and is gone on from.

        Raises:
            NotFoundError: there is no such upload.
            ConflictError: the piece does not begin where the last one ended (E-BUNDLE-OFFSET), or another one is
                being received (E-BUNDLE-BUSY).
            UsageError: the piece is too long (E-BUNDLE-UPLOAD).
        """
        self.get(upload_id)
        with self._file(upload_id).open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                raise ConflictError(
                    "another piece of this upload is being received", hint="Wait for it.", code="E-BUNDLE-BUSY"
                ) from exc
            upload = self.get(upload_id)
            if upload.state is not UploadState.RECEIVING or offset != upload.offset:
                raise ConflictError(
                    f"the upload is at byte {upload.offset}, not at {offset}",
                    hint="Ask where it is, and go on from there.",
                    code="E-BUNDLE-OFFSET",
                )
            if not 0 < length <= min(PIECE_BYTES, upload.size_bytes - offset):
                raise UsageError(
                    f"a piece of {length} bytes is not taken at byte {offset} of {upload.size_bytes}",
                    hint=f"Send at most {PIECE_BYTES} bytes at once, and not beyond the end.",
                    code="E-BUNDLE-UPLOAD",
                )
            yield file

    def end(self, upload_id: str, verdict: Verdict) -> None:
        """Keep how it ended, and no longer the file."""
        record = self._record(upload_id)
        if record is not None:
            self._keep(upload_id, record.model_copy(update={"verdict": verdict}))
            self._file(upload_id).unlink(missing_ok=True)

    def discard(self, upload_id: str) -> None:
        """Forget an upload.

        Raises:
            NotFoundError: there is none.
        """
        self.get(upload_id)
        shutil.rmtree(self._directory / upload_id, ignore_errors=True)

    def drop_old(self) -> None:
        """Forget what nobody has touched for a week."""
        for path in self._directory.iterdir() if self._directory.is_dir() else []:
            newest = max((each.stat().st_mtime for each in (path, *path.iterdir())), default=0.0)
            if time.time() - newest > _KEPT_S:
                shutil.rmtree(path, ignore_errors=True)

    def _file(self, upload_id: str) -> Path:
        return self._directory / upload_id / "bundle.emb"

    def _record(self, upload_id: str) -> _Record | None:
        if _ID.fullmatch(upload_id) is None:
            return None
        try:
            return _Record.model_validate_json((self._directory / upload_id / "upload.json").read_bytes())
        except (OSError, ValidationError):
            return None

    def _keep(self, upload_id: str, record: _Record) -> None:
        write_whole(self._directory / upload_id / "upload.json", record.model_dump_json().encode())
