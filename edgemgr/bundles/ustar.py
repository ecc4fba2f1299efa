"""The one form of tar member that a bundle has: a plain file in POSIX ustar, every field but name and size fixed.

Source: POSIX.1-2017, pax, "ustar Interchange Format". A reader that knows name and size knows all 512 bytes, so
that there is no field left in which anything could hide.
"""

from __future__ import annotations

import re

BLOCK_BYTES = 512
#: Two zero blocks end the archive, and nothing follows.
TRAILER = bytes(2 * BLOCK_BYTES)

_NAME_BYTES = 100
_OCTAL = re.compile(rb"[0-7]{11}")
_SIZE_AT, _SIZE_END, _TYPE_AT = 124, 136, 156
_TYPES = {
    b"1": "it is a hard link",
    b"2": "it is a symbolic link",
    b"3": "it is a device",
    b"4": "it is a device",
    b"5": "it is a directory",
    b"6": "it is a pipe",
    b"x": "it is a pax header, which could rename what follows",
    b"g": "it is a pax header, which could rename what follows",
    b"L": "it is a GNU long name",
    b"K": "it is a GNU long name",
    b"S": "it is a sparse file",
    b"V": "it is a volume label",
    b"M": "it is the continuation of a file",
}


def header(name: str, size_bytes: int) -> bytes:
    """The header block of a member: mode 0444, owner 0:0, time 0.

    `size_bytes` is at most eleven octal digits, which is 8 GiB less one byte.
    """
    raw_name, size = name.encode("ascii"), f"{size_bytes:011o}".encode()
    if not 0 < len(raw_name) < _NAME_BYTES or len(size) != _SIZE_END - _SIZE_AT - 1:
        raise RuntimeError(f"no ustar header holds {name!r} with {size_bytes} bytes")
    fields = (
        (raw_name, _NAME_BYTES),
        (b"0000444", 8),
        (b"0000000", 8),
        (b"0000000", 8),
        (size, 12),
        (b"00000000000", 12),
        (b"        ", 8),  # the checksum is counted with spaces in its place
        (b"0", 1),
        (b"", 100),
        (b"ustar\x0000", 8),
        (b"", 32),
        (b"", 32),
        (b"0000000", 8),
        (b"0000000", 8),
        (b"", 155),
        (b"", 12),
    )
    block = b"".join(value.ljust(width, b"\0") for value, width in fields)
    return block[:148] + f"{sum(block):06o}".encode() + b"\0 " + block[156:]


def padded(size_bytes: int) -> int:
    """The bytes that contents of this size take in the archive."""
    return -(-size_bytes // BLOCK_BYTES) * BLOCK_BYTES


def name_of(block: bytes) -> str:
    """The name in a header block, for comparison and for messages; it may hold any character."""
    return block[:_NAME_BYTES].rstrip(b"\0").decode("latin-1")


def size_of(block: bytes) -> int | None:
    """The size in a header block, or None when it is not eleven octal digits."""
    text = block[_SIZE_AT : _SIZE_END - 1]
    return int(text, 8) if _OCTAL.fullmatch(text) else None


def fault_of(block: bytes) -> str:
    """Why a header block is not the one that was expected, as far as the block itself shows."""
    kind = block[_TYPE_AT : _TYPE_AT + 1]
    if kind in _TYPES:
        return _TYPES[kind]
    name = name_of(block)
    if name.startswith("/"):
        return "its name is absolute"
    if ".." in name.split("/"):
        return "its name leads out of the bundle"
    if "\0" in name:
        return "its name holds a NUL"
    return "no bundle has this member, of this size, at this place"
