"""Runs on the node, handed to its Python as text: put one chunk from standard input into a partial file.

Arguments: partial file, offset, sha256 of the chunk, attempt number, record of the fence. The chunk is read and
compared before the file is touched, so a connection that dies in the middle changes nothing, and a process that hangs
on a dead link holds neither the fence nor the file. No lock is needed: the chunk's place and content follow from the
file's digest, so that two writers write the same. Standard library only, any Python 3.
"""

import hashlib
import json
import os
import sys

STALE, DAMAGED = 75, 65  # as in sysexits.h: temporary failure, data error


def main(partial: str, offset: str, digest: str, attempt: str, record: str) -> int:
    """Returns the exit status."""
    chunk = sys.stdin.buffer.read()
    if hashlib.sha256(chunk).hexdigest() != digest:
        return DAMAGED
    try:
        with open(record) as handle:
            newest = json.load(handle)["attempt"]
    except FileNotFoundError:
        newest = 0
    if newest > int(attempt):
        return STALE
    descriptor = os.open(partial, os.O_WRONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "wb") as handle:
        handle.seek(int(offset))
        handle.write(chunk)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
