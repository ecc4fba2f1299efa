from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from pathlib import Path

import pytest

from edgemgr.links import stick_copy
from edgemgr.links.node_fence import RefusedError
from edgemgr.links.stick_copy import (
    Blob,
    DamagedError,
    bring,
    missing_bytes,
    pieces_of,
    read_from,
    refuse_without_room,
)

DATA = os.urandom(3_000_000)
DIGEST = hashlib.sha256(DATA).hexdigest()


def quiet(_done: int) -> None:
    pass


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


def on_stick(stick: Path, data: bytes = DATA, piece_bytes: int = 1 << 30) -> Blob:
    pieces = pieces_of(stick, DIGEST, len(DATA), piece_bytes)
    for number, path in enumerate(pieces):
        path.write_bytes(data[number * piece_bytes : (number + 1) * piece_bytes])
    return Blob(DIGEST, len(DATA), pieces)


def test_a_file_is_copied_once(tmp_path: Path, cache: Path) -> None:
    blob = on_stick(tmp_path)
    assert bring(cache, blob, quiet) == len(DATA)
    assert (cache / DIGEST).read_bytes() == DATA
    assert (cache / DIGEST).stat().st_mode & 0o777 == 0o600
    blob.pieces[0].unlink()
    assert bring(cache, blob, quiet) == 0


@pytest.mark.parametrize("piece_bytes", [1_000_000, 999_999, 2_999_999, 3_000_000])
def test_a_file_too_large_for_the_stick_comes_in_pieces(tmp_path: Path, cache: Path, piece_bytes: int) -> None:
    blob = on_stick(tmp_path, piece_bytes=piece_bytes)
    assert len(blob.pieces) == -(-len(DATA) // piece_bytes)
    (cache / f"{DIGEST}.part").write_bytes(DATA[:1_500_000])
    assert bring(cache, blob, quiet) == 1_500_000
    assert (cache / DIGEST).read_bytes() == DATA


@pytest.mark.parametrize("had", [1, 1_048_576, 2_999_999, 3_000_000])
def test_a_copy_that_broke_off_goes_on_where_it_was(tmp_path: Path, cache: Path, had: int) -> None:
    (cache / f"{DIGEST}.part").write_bytes(DATA[:had])
    assert bring(cache, on_stick(tmp_path), quiet) == len(DATA) - had
    assert [path.name for path in cache.iterdir()] == [DIGEST]


@pytest.mark.parametrize("part", [bytes(1000), bytes(3_000_000), bytes(4_000_000), b"x" + DATA])
def test_a_partial_file_that_is_wrong_is_copied_anew(tmp_path: Path, cache: Path, part: bytes) -> None:
    (cache / f"{DIGEST}.part").write_bytes(part)
    assert bring(cache, on_stick(tmp_path), quiet) == len(DATA)
    assert (cache / DIGEST).read_bytes() == DATA


def test_a_damaged_file_in_the_store_is_replaced(tmp_path: Path, cache: Path) -> None:
    (cache / DIGEST).write_bytes(b"x" + DATA[1:])
    assert bring(cache, on_stick(tmp_path), quiet) == len(DATA)
    assert (cache / DIGEST).read_bytes() == DATA


@pytest.mark.parametrize("data", [b"x" + DATA[1:], DATA[:-1], DATA + b"x", b""])
def test_a_damaged_file_on_the_stick_never_gets_its_name(tmp_path: Path, cache: Path, data: bytes) -> None:
    blob = on_stick(tmp_path, data)
    with pytest.raises(DamagedError):
        bring(cache, blob, quiet)
    assert not (cache / DIGEST).exists()
    bring(cache, on_stick(tmp_path), quiet)
    assert (cache / DIGEST).read_bytes() == DATA


def test_a_missing_file_on_the_stick_is_told_as_one(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(DamagedError, match="No such file"):
        bring(cache, Blob(DIGEST, len(DATA), [tmp_path / DIGEST]), quiet)


def test_links_in_the_place_of_a_partial_file_are_not_followed(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "precious").write_bytes(b"precious")
    (cache / f"{DIGEST}.part").symlink_to(tmp_path / "precious")
    bring(cache, on_stick(tmp_path), quiet)
    assert (tmp_path / "precious").read_bytes() == b"precious"


def test_room_is_seen_to_before_anything_is_copied(tmp_path: Path, cache: Path) -> None:
    blob = on_stick(tmp_path)
    assert missing_bytes(cache, [blob]) == len(DATA)
    refuse_without_room(cache, len(DATA), 0)
    with pytest.raises(RefusedError, match="nothing was copied") as caught:
        refuse_without_room(cache, len(DATA), 1 << 60)
    assert caught.value.error["code"] == "E-STAGE-ROOM"
    bring(cache, blob, quiet)
    refuse_without_room(cache, missing_bytes(cache, [blob]), 1 << 60)  # nothing is to be copied any more


def test_a_full_disk_in_the_middle_leaves_what_came(tmp_path: Path, cache: Path, monkeypatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    blob = on_stick(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(stick_copy.os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            bring(cache, blob, quiet)
    assert not (cache / DIGEST).exists()
    bring(cache, blob, quiet)
    assert (cache / DIGEST).read_bytes() == DATA


def test_the_lock_of_another_attempt_is_respected_and_its_record_stays(tmp_path: Path) -> None:
    lock, record = tmp_path / "lock", tmp_path / "fence.json"
    record.write_text('{"attempt": 1017}\n')
    with stick_copy.node_locked(lock, record, 0.0):
        pass
    assert record.read_text() == '{"attempt": 1017}\n'
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(RefusedError) as caught, stick_copy.node_locked(lock, record, 0.0):
            pass
    assert caught.value.error["code"] == "E-FENCE-BUSY"
    record.write_text("damaged")
    with pytest.raises(RefusedError) as caught, stick_copy.node_locked(lock, record, 0.0):
        pass
    assert caught.value.error["code"] == "E-FENCE-DAMAGED"


@pytest.mark.parametrize("kind", ["link", "pipe", "directory"])
def test_what_is_no_plain_file_of_the_stick_is_not_read(tmp_path: Path, cache: Path, kind: str) -> None:
    blob = on_stick(tmp_path)
    path = blob.pieces[0]
    path.rename(tmp_path / "elsewhere")
    if kind == "link":
        path.symlink_to(tmp_path / "elsewhere")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(DamagedError):
        bring(cache, blob, lambda _done: None)
    with pytest.raises(DamagedError):
        list(read_from(blob.pieces, 0, len(DATA)))
    assert list(cache.iterdir()) == []


def test_a_stick_that_goes_on_for_ever_is_read_as_far_as_the_order_says(tmp_path: Path) -> None:
    blob = on_stick(tmp_path)
    with blob.pieces[0].open("ab") as handle:
        handle.write(bytes(5000))
    assert b"".join(read_from(blob.pieces, 7, len(DATA))) == DATA[7:]
