"""The rules of a k3s release: which file belongs to which architecture, and what such a file must look like.

k3s publishes, per version, a binary and an image archive for each architecture and one list of hashes for both.
The names are not regular: the 32-bit ARM binary is `k3s-armhf`, its images are `k3s-airgap-images-arm`
(docs.k3s.io, air-gap install).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import StrEnum

from edgemgr.model.digest import is_digest

ELF_MAGIC = b"\x7fELF"
#: Bytes that `elf_extent` needs: the file header and more program headers than any linker writes.
ELF_HEADER_BYTES = 4096

_ELF_32, _ELF_64, _LITTLE_ENDIAN = 1, 2, 1
_TAR_MAGIC_AT, _TAR_BLOCK_BYTES = 257, 512


class Arch(StrEnum):
    """An architecture that k3s is published for, by the name that its image archives carry."""

    AMD64 = "amd64"
    ARM64 = "arm64"
    ARM = "arm"


class Part(StrEnum):
    """What a release file is for."""

    BINARY = "binary"
    IMAGES = "images"


class Packing(StrEnum):
    """How an image archive is packed, by the end of its name; the smallest first."""

    ZSTD = ".tar.zst"
    GZIP = ".tar.gz"
    TAR = ".tar"


@dataclass(frozen=True)
class ArchRule:
    """How one architecture shows in names and in bytes."""

    binary: str
    elf_class: int  #: byte 4 of an ELF file
    elf_machine: int  #: e_machine (System V ABI)
    uname: tuple[str, ...]  #: what `uname -m` prints there


RULES = {
    Arch.AMD64: ArchRule("k3s", _ELF_64, 62, ("x86_64", "amd64")),
    Arch.ARM64: ArchRule("k3s-arm64", _ELF_64, 183, ("aarch64", "arm64")),
    Arch.ARM: ArchRule("k3s-armhf", _ELF_32, 40, ("armv7l", "armv8l", "armhf")),
}


def hash_list_name(arch: Arch) -> str:
    """The name of the file that lists the hashes of an architecture's files."""
    return f"sha256sum-{arch}.txt"


def image_archive_name(arch: Arch, packing: Packing) -> str:
    """The name of an architecture's image archive."""
    return f"k3s-airgap-images-{arch}{packing}"


def image_archive_names(arch: Arch) -> tuple[str, ...]:
    """All names under which an architecture's image archive may come, the preferred one first."""
    return tuple(image_archive_name(arch, packing) for packing in Packing)


def arch_of_machine(machine: str) -> Arch | None:
    """The architecture that `uname -m` means, or None for one that k3s is not published for."""
    return next((arch for arch, rule in RULES.items() if machine in rule.uname), None)


def arch_named(name: str) -> Arch | None:
    """The architecture that is called so by k3s, by Kubernetes or by a node itself; None for any other name."""
    return Arch(name) if name in set(Arch) else arch_of_machine(name)


def read_hash_list(text: str) -> dict[str, str]:
    """File name → SHA-256 from a list of `<sha256>  <name>` lines; lines of any other form are left out."""
    found = {}
    for line in text.splitlines():
        digest, _, name = line.strip().partition(" ")
        if is_digest(digest.lower()):
            found[name.strip().lstrip("*")] = digest.lower()
    return found


def elf_arch(head: bytes) -> Arch | None:
    """The architecture of the program that begins with these bytes; None when it is none that k3s runs on."""
    if len(head) < 20 or head[:4] != ELF_MAGIC or head[5] != _LITTLE_ENDIAN:  # noqa: PLR2004 — up to e_machine
        return None
    (machine,) = struct.unpack_from("<H", head, 18)
    return next((a for a, rule in RULES.items() if (rule.elf_class, rule.elf_machine) == (head[4], machine)), None)


def elf_extent(head: bytes) -> int:
    """The least size in bytes that an ELF file must have by its own headers; 0 when they cannot be read.

    Args:
        head: the first `ELF_HEADER_BYTES` of the file.
    """
    try:
        if head[4] == _ELF_64:
            phoff, shoff = struct.unpack_from("<QQ", head, 32)
            phentsize, phnum, shentsize, shnum = struct.unpack_from("<HHHH", head, 54)
            segments = [struct.unpack_from("<Q16xQ", head, phoff + i * phentsize + 8) for i in range(phnum)]
        else:
            phoff, shoff = struct.unpack_from("<II", head, 28)
            phentsize, phnum, shentsize, shnum = struct.unpack_from("<HHHH", head, 42)
            segments = [struct.unpack_from("<I8xI", head, phoff + i * phentsize + 4) for i in range(phnum)]
    except (struct.error, IndexError):
        return 0
    return max(int(shoff + shentsize * shnum), *(int(offset + size) for offset, size in segments), 0)


def packing_of(head: bytes) -> Packing | None:
    """How the archive that begins with these bytes is packed; None when it is no archive at all."""
    if head[:4] == b"\x28\xb5\x2f\xfd":  # RFC 8878, 3.1.1
        return Packing.ZSTD
    if head[:3] == b"\x1f\x8b\x08":  # RFC 1952, 2.3
        return Packing.GZIP
    return Packing.TAR if is_tar(head) else None


def is_tar(block: bytes) -> bool:
    """Whether these bytes begin with a header block of a tar archive (POSIX ustar or GNU)."""
    return len(block) >= _TAR_BLOCK_BYTES and block[_TAR_MAGIC_AT : _TAR_MAGIC_AT + 5] == b"ustar"
