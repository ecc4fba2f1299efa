"""What a part of a backup is made of: its sha256, and a list of the sha256 of each of its blocks of 4 KiB.

SQLite and etcd's bbolt change whole pages in place (sqlite.org/fileformat2.html; 4096 bytes unless told otherwise),
so blocks of that size at fixed places are the same in the next backup wherever nothing was written. The list lies
beside the part, 128 digests to a block of its own; the manifest names the sha256 of those. Whoever holds an older
backup can thus tell what changed from a few KiB, and check each block as it comes.
"""

from __future__ import annotations

import hashlib
from typing import Any

from ansible_collections.edgemgr.edge.plugins.module_utils.safe_files import read_or_none, write_file

# The same as in the appliance (edgemgr/model/backup_manifest.py).
BLOCK_BYTES = 4096
LIST_ENTRIES = 128
LIST_ENDING = ".blocks"

_DIGEST_BYTES = 32
_READ_BLOCKS = 256


def add_list(directory: str, name: str) -> dict[str, Any]:
    """Write the block list of a part beside it, durably; returns the part's entry in the manifest."""
    entry, digests = _scan(directory, name)
    write_file(directory + "/" + name + LIST_ENDING, digests, 0o600, 0o700)
    return entry


def is_right(directory: str, entry: dict[str, Any]) -> bool:
    """Whether a part and its list are still what the manifest says.

    Raises:
        OSError: the part cannot be read.
    """
    found, digests = _scan(directory, entry["name"])
    return found == entry and read_or_none(directory + "/" + entry["name"] + LIST_ENDING) == digests


def _scan(directory: str, name: str) -> tuple[dict[str, Any], bytes]:
    whole, size, digests = hashlib.sha256(), 0, bytearray()
    with open(directory + "/" + name, "rb") as handle:
        while True:
            data = handle.read(_READ_BLOCKS * BLOCK_BYTES)
            if not data:
                break
            whole.update(data)
            size += len(data)
            for at in range(0, len(data), BLOCK_BYTES):
                digests += hashlib.sha256(data[at : at + BLOCK_BYTES]).digest()
    step = LIST_ENTRIES * _DIGEST_BYTES
    lists = [hashlib.sha256(digests[at : at + step]).hexdigest() for at in range(0, len(digests), step)]
    return {"name": name, "size_bytes": size, "sha256": whole.hexdigest(), "lists": lists}, bytes(digests)
