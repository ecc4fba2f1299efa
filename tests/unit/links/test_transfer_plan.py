"""What of a blob travels: every byte that the node lacks, once, and never a byte that is not the blob's."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemgr.errors import SiteError
from edgemgr.links.transfer_plan import (
    BLOCK_BYTES,
    CHUNK_BYTES,
    Blob,
    chunks_of,
    good_blocks,
    once_each,
    pieces,
    read_chunk,
)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@given(st.integers(0, 20 * CHUNK_BYTES), st.data())
def test_pieces_cover_what_follows_the_start_once_and_stay_within_chunks(size: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, size))
    at = start
    for piece in pieces(size, start):
        assert piece.offset == at
        assert piece.size_bytes > 0
        assert piece.offset // CHUNK_BYTES == piece.chunk == (piece.offset + piece.size_bytes - 1) // CHUNK_BYTES
        at += piece.size_bytes
        assert at % CHUNK_BYTES == 0 or at == size
    assert at == size


@given(st.integers(1, 5), st.integers(0, 6), st.none() | st.integers(0, 5 * BLOCK_BYTES - 1))
def test_a_chunk_goes_on_at_the_first_block_that_is_wrong(blocks: int, told: int, flipped: int | None) -> None:
    chunk = bytes(range(256)) * (blocks * BLOCK_BYTES // 256)
    there = bytearray(chunk)
    if flipped is not None and flipped < len(there):
        there[flipped] ^= 0x10
    hashes = [_sha256(bytes(there[at : at + BLOCK_BYTES])) for at in range(0, told * BLOCK_BYTES, BLOCK_BYTES)]
    good = good_blocks(chunk, hashes)
    wrong = blocks if flipped is None else min(blocks, flipped // BLOCK_BYTES)
    assert good == min(told, wrong) * BLOCK_BYTES


def test_a_blob_that_is_named_twice_travels_once() -> None:
    one, two = Blob("a" * 64, 1, Path("one")), Blob("b" * 64, 1, Path("two"))
    assert once_each([one, two, one]) == [one, two]


def test_chunks_are_computed_from_the_file_where_nobody_signed_them(tmp_path: Path) -> None:
    content = b"a" * CHUNK_BYTES + b"b" * 10
    path = tmp_path / "blob"
    path.write_bytes(content)
    blob = Blob(_sha256(content), len(content), path)
    assert chunks_of(blob) == (_sha256(b"a" * CHUNK_BYTES), _sha256(b"b" * 10))
    assert chunks_of(Blob(blob.digest, blob.size_bytes, path, ("signed",))) == ("signed",)


def test_a_file_that_has_changed_or_gone_is_named(tmp_path: Path) -> None:
    path = tmp_path / "k3s"
    path.write_bytes(b"right")
    blob = Blob(_sha256(b"right"), 5, path, (_sha256(b"right"),))
    path.write_bytes(b"wrong")
    with path.open("rb") as handle, pytest.raises(SiteError) as changed:
        read_chunk(handle, blob, 0, blob.chunks[0])
    with pytest.raises(SiteError) as unsigned:
        chunks_of(Blob(blob.digest, 5, path))
    path.unlink()
    with pytest.raises(SiteError) as gone:
        chunks_of(Blob(blob.digest, 5, path))
    for caught in (changed, unsigned, gone):
        assert caught.value.code == "E-ARTIFACT-SOURCE"
        assert "k3s" in caught.value.message
