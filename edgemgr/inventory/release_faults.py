"""What is wrong with a release file: said in the operator's words, from its name, its bytes and its hash."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import zstandard

from edgemgr.errors import ReleaseError
from edgemgr.model.release import (
    ELF_HEADER_BYTES,
    RULES,
    Arch,
    Packing,
    Part,
    elf_arch,
    elf_extent,
    is_tar,
    packing_of,
)

_BLOCK_BYTES = 1 << 20
_FETCH_AGAIN = "Fetch the file again from the release's page, or copy it again."


@dataclass(frozen=True)
class ReleaseFault:
    """One thing that is wrong with a release."""

    code: str
    message: str
    hint: str


class ReleaseFaultsError(ReleaseError):
    """A release was refused as a whole; `faults` has everything that is wrong with it."""

    def __init__(self, directory: Path, faults: Iterable[ReleaseFault]) -> None:
        self.faults = tuple(faults)
        codes = {fault.code for fault in self.faults}
        lines = [f"{fault.message} ({fault.code})" for fault in self.faults]
        super().__init__(
            lines[0] if len(lines) == 1 else f"{directory} has {len(lines)} faults:\n  " + "\n  ".join(lines),
            hint=" ".join(dict.fromkeys(fault.hint for fault in self.faults)),
            code=codes.pop() if len(codes) == 1 else "E-RELEASE",
        )


def kind_fault(path: Path, arch: Arch, part: Part) -> ReleaseFault | None:
    """A fault when the file is not of the kind that its name promises: another architecture, or no archive.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(ELF_HEADER_BYTES)
    if not head:
        return ReleaseFault("E-RELEASE-TRUNCATED", f"{path.name} is empty", _FETCH_AGAIN)
    if part is Part.BINARY:
        return _program_fault(path, arch, head)
    return _archive_fault(path, head)


def hash_fault(path: Path, arch: Arch, part: Part, *, found: str, wanted: str) -> ReleaseFault:
    """The fault of a file with the wrong hash: half a file where its own structure says so, else altered.

    Raises:
        OSError: the file cannot be read.
    """
    if part is Part.BINARY:
        with path.open("rb") as file:
            cut = elf_extent(file.read(ELF_HEADER_BYTES)) > path.stat().st_size
    else:
        cut = _ends_early(path)
    if cut:
        message = f"{path.name} ends too early: only {path.stat().st_size} bytes of it are here"
        return ReleaseFault("E-RELEASE-TRUNCATED", message, _FETCH_AGAIN)
    return ReleaseFault(
        "E-RELEASE-HASH",
        f"{path.name} does not have the hash that sha256sum-{arch}.txt gives: it has {found}, it should have {wanted}",
        f"{_FETCH_AGAIN} If it happens again, the file and the list are not of the same version.",
    )


def _program_fault(path: Path, arch: Arch, head: bytes) -> ReleaseFault | None:
    is_for = elf_arch(head)
    if is_for is arch:
        return None
    wanted = f"{path.name} must be a program for {arch}"
    if is_for is None:
        return ReleaseFault("E-RELEASE-ARCH", f"{wanted}, but is no program that a site can run", _FETCH_AGAIN)
    return ReleaseFault(
        "E-RELEASE-ARCH",
        f"{wanted}, but is one for {is_for}",
        f"Name it {RULES[is_for].binary} if that is what it is, and fetch {path.name} again.",
    )


def _archive_fault(path: Path, head: bytes) -> ReleaseFault | None:
    packing = packing_of(head)
    if packing is None:
        return ReleaseFault("E-RELEASE-ARCHIVE", f"{path.name} is no archive of images", _FETCH_AGAIN)
    if not path.name.endswith(packing):
        # k3s chooses the way to unpack by the name, so a wrong one fails at the site (docs.k3s.io, air-gap install).
        message = f"{path.name} is packed as {packing}, which its name does not say"
        return ReleaseFault("E-RELEASE-ARCHIVE", message, f"Give it a name that ends in {packing}.")
    try:
        with _opened(path, packing) as file:
            is_archive = is_tar(file.read(512))
    except (OSError, EOFError, zlib.error, zstandard.ZstdError):
        is_archive = True  # damaged, not another kind of file: the hash will say so
    if is_archive:
        return None
    return ReleaseFault("E-RELEASE-ARCHIVE", f"{path.name} is packed, but holds no tar archive", _FETCH_AGAIN)


def _opened(path: Path, packing: Packing) -> io.BufferedIOBase | IO[bytes]:
    if packing is Packing.GZIP:
        return gzip.open(path, "rb")
    if packing is Packing.ZSTD:
        return io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(path.open("rb"), closefd=True))
    return path.open("rb")


def _ends_early(path: Path) -> bool:
    """Whether an archive stops before its own end mark. Reads all of it: only asked when the hash is wrong."""
    with path.open("rb") as file:
        packing = packing_of(file.read(512))
    if packing is None:
        return False
    tail = b""
    try:
        with _opened(path, packing) as file:
            while block := file.read(_BLOCK_BYTES):
                tail = (tail + block)[-1024:]
    except EOFError:
        return True
    except (OSError, zlib.error, zstandard.ZstdError):
        return False
    # POSIX ustar: an archive ends with two blocks of zeros.
    return tail != bytes(1024)
