from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgemgr.inventory.content_store import ContentStore, Stored

CONTENT = b"some bytes" * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "store")


def names(store: ContentStore) -> list[str]:
    directory = store.path(DIGEST).parent
    return sorted(path.name for path in directory.iterdir()) if directory.is_dir() else []


def test_a_file_lies_under_its_digest_and_nobody_may_write_it(store: ContentStore) -> None:
    assert store.take([CONTENT[:10], CONTENT[10:]], digest=DIGEST) == Stored(DIGEST, len(CONTENT))
    assert store.path(DIGEST).read_bytes() == CONTENT
    assert store.path(DIGEST).stat().st_mode & 0o222 == 0
    assert store.has(DIGEST, len(CONTENT))
    assert not store.has(DIGEST, len(CONTENT) + 1)


def test_a_file_whose_digest_is_found_out_is_the_same(store: ContentStore) -> None:
    assert store.take([CONTENT]).digest == DIGEST


def test_other_bytes_than_were_promised_are_not_kept(store: ContentStore) -> None:
    with pytest.raises(ValueError, match="instead of"):
        store.take([CONTENT, b"x"], digest=DIGEST)
    assert names(store) == []


def test_a_stream_that_breaks_leaves_nothing(store: ContentStore) -> None:
    def broken() -> Iterator[bytes]:
        yield CONTENT
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        store.take(broken(), digest=DIGEST)
    assert names(store) == []


def test_what_a_kill_left_half_written_is_taken_away_and_the_rest_is_not(store: ContentStore) -> None:
    store.take([CONTENT])
    (store.path(DIGEST).parent / f".tmp-{DIGEST}").write_bytes(b"half")
    store.drop_temporary()
    assert names(store) == [DIGEST]


def test_only_what_lies_here_long_enough_is_told(store: ContentStore) -> None:
    store.take([CONTENT])
    assert store.untouched(3600) == {}
    assert store.untouched(-1) == {DIGEST: len(CONTENT)}


def test_removing_what_is_not_there_is_no_fault(store: ContentStore) -> None:
    store.remove([DIGEST])
    store.take([CONTENT])
    store.remove([DIGEST, "0" * 64])
    assert names(store) == []
