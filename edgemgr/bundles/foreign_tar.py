"""Reads tar archives that others wrote (docker, skopeo, helm): one pass, bounded, nothing is ever extracted by name.

Understood are ustar, the GNU form with long names, and pax headers, because image tools write all three.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass

from edgemgr.bundles.unpacking import Readable
from edgemgr.errors import BundleError

_BLOCK, _READ_BYTES = 512, 1 << 20
_MAX_MEMBERS = 50_000
_MAX_EXTENSION_BYTES = 1 << 20  #: of one long name or one set of pax records
_MAX_MEMBER_BYTES = 8 << 30

_FILES = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_LINKS = (tarfile.SYMTYPE, tarfile.LNKTYPE)
_LONG_NAMES = {tarfile.GNUTYPE_LONGNAME: "path", tarfile.GNUTYPE_LONGLINK: "linkpath"}


@dataclass(frozen=True)
class Member:
    """One file or link of an archive. Names are words to look up, never paths to open."""

    name: str
    size_bytes: int
    link: str | None  #: what a link points to, as it is written; None for a file
    is_hard_link: bool


class ForeignTar:
    """The members of an archive, in order; `chunks` gives the content of the one that came last."""

    def __init__(self, stream: Readable, *, what: str) -> None:
        self._stream = stream
        self._what = what
        self._left = self._padding = 0

    def __iter__(self) -> Iterator[Member]:
        """Every file and link.

        Raises:
            BundleError: the archive is cut off, damaged, or uses a form that no image tool writes
                (E-BUNDLE-ARCHIVE).
        """
        extended: dict[str, str] = {}
        for _ in range(_MAX_MEMBERS):
            header = self._header()
            if header is None:
                return
            if header.type in _LONG_NAMES:
                extended[_LONG_NAMES[header.type]] = self._extension(header).rstrip(b"\0").decode("utf-8", "replace")
                continue
            if header.type == tarfile.XHDTYPE:
                extended |= self._pax(self._extension(header))
                continue
            if header.type == tarfile.XGLTYPE:
                self._extension(header)
                continue
            size = self._size(extended.get("size", header.size)) if header.type in _FILES else 0
            self._left, self._padding = size, -size % _BLOCK
            name = extended.get("path", header.name)
            if header.type in _FILES:
                yield Member(name, size, None, is_hard_link=False)
            elif header.type in _LINKS:
                yield Member(name, 0, extended.get("linkpath", header.linkname), header.type == tarfile.LNKTYPE)
            elif header.type != tarfile.DIRTYPE:
                raise self._damaged(f"member {name!r} is neither a file nor a directory nor a link")
            for _ in self.chunks():
                pass
            self._exactly(self._padding)
            extended = {}
        raise self._damaged(f"it has more than {_MAX_MEMBERS} members")

    def chunks(self) -> Iterator[bytes]:
        """The content of the present member that was not read yet, at most 1 MiB at a time."""
        while self._left:
            block = self._exactly(min(self._left, _READ_BYTES))
            self._left -= len(block)
            yield block

    def content(self, limit_bytes: int) -> bytes:
        """The whole content of the present member.

        Raises:
            BundleError: it is larger than the limit (E-BUNDLE-ARCHIVE).
        """
        if self._left > limit_bytes:
            raise self._damaged(f"a file of {self._left} bytes lies where {limit_bytes} are the most")
        return b"".join(self.chunks())

    def _header(self) -> tarfile.TarInfo | None:
        block = self._exactly(_BLOCK)
        if not any(block):
            self._drain()
            return None
        try:
            return tarfile.TarInfo.frombuf(block, "utf-8", "replace")
        except tarfile.HeaderError as exc:
            raise self._damaged(f"a header cannot be read ({exc})") from exc

    def _extension(self, header: tarfile.TarInfo) -> bytes:
        if not 0 <= header.size <= _MAX_EXTENSION_BYTES:
            raise self._damaged(f"an extended header of {header.size} bytes is not acceptable")
        data = self._exactly(header.size)
        self._exactly(-header.size % _BLOCK)
        return data

    def _pax(self, data: bytes) -> dict[str, str]:
        """Records of the form `LENGTH KEY=VALUE`, each ended by a new line (POSIX.1-2001, pax)."""
        found = {}
        at = 0
        while at < len(data):
            digits, space, _ = data[at : at + 8].partition(b" ")
            length = int(digits) if space and digits.isdigit() else 0
            record = data[at : at + length]
            key, equals, value = record[len(digits) + 1 : -1].partition(b"=")
            if not record.endswith(b"\n") or len(record) != length or not equals:
                raise self._damaged("its pax records cannot be read")
            if key.startswith(b"GNU.sparse"):
                raise self._damaged("it holds sparse files")
            found[key.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
            at += length
        return found

    def _size(self, written: str | int) -> int:
        size = int(written) if str(written).isdigit() else -1
        if not 0 <= size <= _MAX_MEMBER_BYTES:
            raise self._damaged(f"a member's size is not acceptable: {written}")
        return size

    def _exactly(self, size: int) -> bytes:
        parts, missing = [], size
        while missing:
            block = self._stream.read(min(missing, _READ_BYTES))
            if not block:
                raise self._damaged("it ends too early")
            parts.append(block)
            missing -= len(block)
        return b"".join(parts)

    def _drain(self) -> None:
        """Read what follows the end mark, so that the packing's own checksum is looked at."""
        for _ in range(_MAX_MEMBER_BYTES // _READ_BYTES):
            if not self._stream.read(_READ_BYTES):
                return
        raise self._damaged("it does not end")

    def _damaged(self, why: str) -> BundleError:
        return BundleError(
            f"{self._what} cannot be read: {why}", hint="Fetch or make the file again.", code="E-BUNDLE-ARCHIVE"
        )
