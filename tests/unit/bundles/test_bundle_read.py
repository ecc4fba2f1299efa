"""The streaming reader: what it says of damage, what it needs of memory, and that no size is too large for it."""

from __future__ import annotations

import hashlib
import os
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest
from tests_support.bundle_files import (
    EXPIRES_AT,
    K3S,
    NOW,
    payload,
    put_together,
    record,
    take_apart,
    write,
)
from tests_support.good_bundle import Good

from edgemgr.bundles import ustar
from edgemgr.bundles.content import Target
from edgemgr.bundles.keys import load_signer
from edgemgr.bundles.names import CAPS, CHUNK_BYTES, blob_member
from edgemgr.bundles.read import bundle_size, read_blobs, read_head
from edgemgr.bundles.signed_targets import blobs_of
from edgemgr.bundles.source import open_source
from edgemgr.bundles.verify import verify_bundle, verify_metadata
from edgemgr.bundles.write import _members
from edgemgr.errors import BundleError
from edgemgr.model.content import Place, TargetCustom, TargetKind

GIB = 1 << 30


def refusal(good: Good, data: bytes) -> BundleError:
    with pytest.raises(BundleError) as caught:
        good.verify(data)
    return caught.value


def test_a_damaged_blob_is_named_as_people_know_it(good: Good) -> None:
    members = take_apart(good.data)
    at = next(n for n, m in enumerate(members) if m.data.startswith(b"\x7fELF"))
    digest = members[at].name[-64:]
    bad = replace(members[at], data=b"\x7fELG" + members[at].data[4:])
    fault = refusal(good, put_together([*members[:at], bad, *members[at + 1 :]]))
    assert fault.code == "E-B011"
    assert fault.message == (
        f"Blob sha256:{digest[:12]}… (k3s {K3S} amd64) does not match its signed digest."
        " The stick or the copy is damaged."
    )


def test_a_cut_file_says_how_much_is_there(good: Good) -> None:
    fault = refusal(good, good.data[:-100])
    assert fault.code == "E-B010"
    assert fault.message == "The file ends early: 19 868 of 19 968 bytes."
    assert fault.hint == "Copy it again."
    assert "of at least" in refusal(good, good.data[:3000]).message


def test_blobs_stream_in_order_and_are_checked_also_when_nobody_reads_them(good: Good) -> None:
    with open_source(good.bundle) as source:
        head = read_head(source)
        content = verify_metadata(head, good.trust, now=NOW)
        seen = {}
        for number, blob in enumerate(read_blobs(source, head, content)):
            seen[blob.digest] = b"".join(blob.chunks()) if number % 2 else None
            assert blob.size_bytes == content.blobs[blob.digest]
        assert source.tell() == source.size_bytes
    assert list(seen) == list(content.blobs)
    assert all(data is None or hashlib.sha256(data).hexdigest() == digest for digest, data in seen.items())


def test_a_file_that_is_changed_after_the_metadata_was_verified_is_noticed(good: Good, tmp_path: Path) -> None:
    """CVE-2020-25860: what counts are the bytes as they are used."""
    path = tmp_path / "retail.emb"
    path.write_bytes(good.data)
    with open_source(path) as source:
        head = read_head(source)
        content = verify_metadata(head, good.trust, now=NOW)
        with path.open("r+b") as file:
            file.seek(head.blobs_at + 512)
            file.write(b"X")
        with pytest.raises(BundleError) as caught:
            list(read_blobs(source, head, content))
    assert caught.value.code == "E-B011"


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.emb")
    for path in (tmp_path / "pipe.emb", tmp_path / "missing.emb", Path("/dev/zero")):
        with pytest.raises(BundleError) as caught:
            open_source(path)
        assert caught.value.code == "E-BUNDLE-FILE"


def test_memory_does_not_grow_with_the_blobs(good: Good, tmp_path: Path) -> None:
    items = [payload(tmp_path / "p", f"packs/p/{n}.tar", bytes([n]) * (8 << 20), TargetKind.PACK) for n in range(4)]
    write(tmp_path / "large.emb", items, good.keys, record())
    del items
    tracemalloc.start()
    try:
        verify_bundle(tmp_path / "large.emb", good.trust, now=NOW)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 6 << 20


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, CAPS.member])
def test_sizes_pass_through_a_header_unchanged(size: int) -> None:
    header = ustar.header("x", size)
    assert (len(header), ustar.size_of(header), ustar.name_of(header)) == (512, size, "x")
    assert ustar.padded(size) % 512 == 0
    assert 0 <= ustar.padded(size) - size < 512


def test_a_header_holds_no_more_than_eleven_octal_digits() -> None:
    with pytest.raises(RuntimeError, match="no ustar header"):
        ustar.header("x", 8 * GIB)


def test_offsets_beyond_4_gib_are_counted_right(good: Good, tmp_path: Path) -> None:
    """CVE-2026-34155: a 32-bit length, and only the first bytes were covered."""
    path = tmp_path / "sparse.emb"
    with path.open("wb") as file:
        file.seek(4 * GIB + 511)
        file.write(b"end")
    with open_source(path) as source:
        assert source.size_bytes == 4 * GIB + 514
        source.seek(4 * GIB + 511)
        assert (source.read(100), source.read(1)) == (b"end", b"")
        assert source.tell() == source.size_bytes
    with open_source(good.bundle) as source:
        content = verify_metadata(read_head(source), good.trust, now=NOW)
    sizes = {"a" * 64: 2 * GIB + 1, "b" * 64: 4 * GIB + 1, "c" * 64: CAPS.member}
    assert (
        bundle_size(5120, replace(content, blobs=sizes)) == 5120 + 3 * 512 + 2 * GIB + 4 * GIB + 1024 + 8 * GIB + 1024
    )


def test_more_than_16_gib_in_all_are_refused() -> None:
    custom = TargetCustom(kind=TargetKind.NOTES, place=Place.NONE)
    targets = [Target(f"notes/{n}.md", str(n) * 64, CAPS.member, custom) for n in range(3)]
    with pytest.raises(BundleError) as caught:
        blobs_of(targets, 0)
    assert caught.value.code == "E-B060"
    assert caught.value.message == "The bundle has 24.0 GiB; at most 16.0 GiB are accepted. Nothing was imported."


def test_one_digest_has_one_size() -> None:
    custom = TargetCustom(kind=TargetKind.NOTES, place=Place.NONE)
    with pytest.raises(BundleError) as caught:
        blobs_of([Target("notes/a.md", "0" * 64, 1, custom), Target("notes/b.md", "0" * 64, 2, custom)], 0)
    assert caught.value.code == "E-B070"


@pytest.mark.exhaustive
@pytest.mark.parametrize("size", [2 * GIB + (100 << 20) + 1, 4 * GIB + (100 << 20) + 1])
def test_every_byte_of_a_large_blob_is_covered(good: Good, tmp_path: Path, size: int) -> None:
    """A sparse file of zeros under a real signature; then its last byte is changed."""
    whole, block = hashlib.sha256(), bytes(CHUNK_BYTES)
    for _ in range(size // CHUNK_BYTES):
        whole.update(block)
    last = bytes(size % CHUNK_BYTES)
    whole.update(last)
    chunks = [hashlib.sha256(block).hexdigest()] * (size // CHUNK_BYTES) + [hashlib.sha256(last).hexdigest()]
    custom = TargetCustom(kind=TargetKind.PACK, place=Place.PACK, chunk_bytes=CHUNK_BYTES, chunks=tuple(chunks))
    target = Target("packs/zero/1.tar", whole.hexdigest(), size, custom)
    path = tmp_path / "large.emb"
    with path.open("wb") as file:
        for name, data in _members([target], record(), load_signer(good.keys, None), EXPIRES_AT):
            file.write(ustar.header(name, len(data)) + data.ljust(ustar.padded(len(data)), b"\0"))
        file.write(ustar.header(blob_member(target.digest), size))
        blob_at = file.tell()
        file.truncate(blob_at + ustar.padded(size) + 1024)
    assert verify_bundle(path, good.trust, now=NOW).payload_bytes == size
    for at, code in ((blob_at + size - 1, "E-B011"), (blob_at + size, "E-B070")):
        with path.open("r+b") as file:
            file.seek(at)
            file.write(b"\x01")
        with pytest.raises(BundleError) as caught:
            verify_bundle(path, good.trust, now=NOW)
        assert caught.value.code == code
        with path.open("r+b") as file:
            file.seek(at)
            file.write(b"\0")
