"""The appliance's store of one site's backups: what it costs, what it notices, what it frees."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests_support.backup_files import put_backup

from edgemgr.errors import VaultError
from edgemgr.inventory.backup_faults import BackupStoreError
from edgemgr.inventory.backup_store import BackupStore, open_store
from edgemgr.vault.vault import Vault

VAULT = Vault(bytes(range(32)))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BackupStore]:
    with open_store(tmp_path, VAULT, "store-1") as opened:
        yield opened


def _bytes(seed: object, size: int) -> bytes:
    return random.Random(repr(seed)).randbytes(size)  # noqa: S311 - repeatable


def _parts(seed: object, size: int = 300_000) -> dict[str, bytes]:
    return {"state.db": _bytes(seed, size), "files.tar": _bytes((seed, "files"), 20_480)}


def _read(store: BackupStore, digest: str, name: str, directory: Path) -> bytes:
    target = directory / f"out-{name}"
    store.write_part(digest, name, target)
    assert target.stat().st_mode & 0o777 == 0o600
    return target.read_bytes()


def test_what_was_put_comes_back_byte_by_byte_also_from_a_store_opened_anew(tmp_path: Path) -> None:
    parts = _parts("a", 5 * 1024 * 1024 + 77)
    with open_store(tmp_path, VAULT, "store-1") as store:
        digest, _ = put_backup(store, 1, parts)
    with open_store(tmp_path, VAULT, "store-1") as store:
        assert store.roots() == [digest]
        assert store.manifest(digest).attempt == 1
        store.verify(digest)
        for name, data in parts.items():
            assert _read(store, digest, name, tmp_path) == data


@settings(max_examples=25)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 3), st.integers(0, 40_000), st.sampled_from(["set", "insert", "cut", "same", "zeros"])
        ),
        min_size=1,
        max_size=8,
    ),
    st.sets(st.integers(0, 7)),
)
def test_any_series_of_backups_comes_back_whatever_was_removed_in_between(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int, str]], removed: set[int]
) -> None:
    directory, data = tmp_path_factory.mktemp("store"), b""
    known: dict[str, dict[str, bytes]] = {}
    for number, (seed, at, how) in enumerate(steps):
        fresh = _bytes((seed, at), at // 3)
        data = {
            "set": data[:at] + fresh + data[at + len(fresh) :],
            "insert": data[:at] + fresh + data[at:],
            "cut": data[:at],
            "same": data,
            "zeros": data + bytes(at),
        }[how]
        parts = {"state.db": data, "files.tar": fresh}
        with open_store(directory, VAULT, "store-1") as store:
            digest, _ = put_backup(store, number + 1, parts)
            known[digest] = parts
            if number in removed:
                gone = next(iter(known))
                del known[gone]
                assert store.remove([gone], young_s=0)
        with open_store(directory, VAULT, "store-1") as store:
            assert store.roots() == sorted(known)
            for each, expected in known.items():
                store.verify(each)
                for name, content in expected.items():
                    assert _read(store, each, name, directory) == content
    with open_store(directory, VAULT, "store-1") as store:
        store.remove(list(known), young_s=0)
        assert store._segments.names() == []


def test_a_second_backup_takes_the_changed_blocks_and_little_more(store: BackupStore) -> None:
    first = _parts("a", 4 << 20)
    put_backup(store, 1, first)
    before = store.stored_bytes
    changed = bytearray(first["state.db"])
    for number in (3, 500, 1000):
        changed[number * 4096 + 100] ^= 1
    _, put = put_backup(store, 2, {**first, "state.db": bytes(changed)})
    assert put == 3 * 4096
    # Beside the blocks: three lists of 4 KiB, a manifest, the heads.
    assert store.stored_bytes - before < 3 * 4096 + 3 * 4096 + 4096


def test_nothing_of_a_backup_can_be_read_on_the_disk(store: BackupStore, tmp_path: Path) -> None:
    parts = {"state.db": b"server-token-K10abc" * 1000, "files.tar": b"private key" * 100}
    put_backup(store, 1, parts)
    store.flush()
    for path in tmp_path.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert b"server-token" not in content
            assert b"private key" not in content
            assert b"store-1" not in content
            assert path.stat().st_mode & 0o077 == 0, path


def test_another_vault_or_another_site_s_key_opens_nothing(tmp_path: Path) -> None:
    with open_store(tmp_path, VAULT, "store-1") as store:
        digest, _ = put_backup(store, 1, _parts("a"))
    with pytest.raises(VaultError) as caught, open_store(tmp_path, Vault(bytes(32)), "store-1"):
        pytest.fail("opened by another key")
    assert caught.value.code == "E-VAULT-KEY-MISSING"
    (tmp_path / "store-1").rename(tmp_path / "store-2")
    with pytest.raises(VaultError) as caught, open_store(tmp_path, VAULT, "store-2"):
        pytest.fail("opened as another site's")
    assert caught.value.code == "E-VAULT-DAMAGED"
    (tmp_path / "store-2").rename(tmp_path / "store-1")
    with open_store(tmp_path, VAULT, "store-1") as store:
        store.verify(digest)


def test_a_store_is_open_once_at_a_time(store: BackupStore, tmp_path: Path) -> None:
    with pytest.raises(BackupStoreError) as caught, open_store(tmp_path, VAULT, "store-1"):
        pytest.fail("opened twice")
    assert caught.value.code == "E-BACKUP-STORE-BUSY"
    with open_store(tmp_path, VAULT, "store-2"):
        pass


def test_every_flipped_bit_of_a_sample_at_rest_is_noticed(tmp_path: Path) -> None:
    with open_store(tmp_path, VAULT, "store-1") as store:
        digest, _ = put_backup(store, 1, _parts("a", 1_500_000))
    dice = random.Random(9)  # noqa: S311 - repeatable
    files = [path for kind in ("segments", "roots") for path in (tmp_path / "store-1" / kind).iterdir()]
    assert len(files) >= 3
    for path in files:
        whole = path.read_bytes()
        places = [0, 12, 15, 16, 30, len(whole) - 1, *(dice.randrange(len(whole)) for _ in range(25))]
        for at in places:
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << dice.randrange(8)]) + whole[at + 1 :])
            with (
                open_store(tmp_path, VAULT, "store-1") as store,
                pytest.raises(BackupStoreError) as caught,
            ):
                store.verify(digest)
            assert caught.value.code == "E-BACKUP-STORE-DAMAGED", (path, at)
            for aside in path.parent.glob("damaged-*"):
                aside.unlink()
            path.write_bytes(whole)
    with open_store(tmp_path, VAULT, "store-1") as store:
        store.verify(digest)


def test_damage_is_noticed_at_commit_and_putting_it_again_mends_the_old_backup_too(tmp_path: Path) -> None:
    parts = _parts("a")
    with open_store(tmp_path, VAULT, "store-1") as store:
        first, _ = put_backup(store, 1, parts)
    (segment,) = (tmp_path / "store-1/segments").iterdir()
    whole = segment.read_bytes()
    segment.write_bytes(whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:])
    with open_store(tmp_path, VAULT, "store-1") as store:
        assert store.set_aside == [], "the head alone tells nothing"
        with pytest.raises(BackupStoreError):
            put_backup(store, 2, parts)
        assert store.roots() == [first]
        assert store.set_aside == [segment.name]
        second, _ = put_backup(store, 2, parts)
        store.verify(first)
        store.verify(second)


def _put_until_cut(store: BackupStore, blocks: list[bytes], held: list[bytes]) -> None:
    held += [store.put(block) for block in blocks]
    raise RuntimeError("cut")


def test_what_was_put_before_a_cut_is_there_after_it(tmp_path: Path) -> None:
    parts = _parts("a", 3_000_000)
    blocks = [parts["state.db"][at : at + 4096] for at in range(0, 3_000_000, 4096)]
    held: list[bytes] = []
    with pytest.raises(RuntimeError, match="cut"), open_store(tmp_path, VAULT, "store-1") as store:
        _put_until_cut(store, blocks[:400], held)
    with open_store(tmp_path, VAULT, "store-1") as store:
        assert store.missing(held) == []
        _, put = put_backup(store, 1, parts)
    assert put == 3_000_000 - 400 * 4096 + 20_480


def test_a_backup_that_misses_a_block_is_never_committed(store: BackupStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "missing", lambda digests: list(digests)[1:])
    with pytest.raises(BackupStoreError, match="blocks are not there"):
        put_backup(store, 1, _parts("a"))
    assert store.roots() == []


def test_removing_frees_what_only_the_removed_ones_used_and_nothing_else(store: BackupStore) -> None:
    base = _parts("base", 4 << 20)
    digests = []
    for number in range(6):
        data = bytearray(base["state.db"])
        data[number * 500_000 : number * 500_000 + 400_000] = _bytes(number, 400_000)
        digests.append(put_backup(store, number + 1, {**base, "state.db": bytes(data)})[0])
    assert store.stored_bytes > (4 << 20) + 6 * 400_000
    assert store.remove(digests[:5], young_s=0)
    assert store.stored_bytes < 1.34 * (4 << 20) + 100_000
    assert store.roots() == [digests[5]]
    store.verify(digests[5])


def test_the_beginning_of_a_pull_that_was_cut_off_outlives_a_removal_for_a_day(store: BackupStore) -> None:
    digest, _ = put_backup(store, 1, _parts("a"))
    begun = store.put(_bytes("begun", 4096))
    store.flush()
    store.remove([digest])
    assert store.missing([begun]) == []
    for path in (store._place / "segments").iterdir():
        os.utime(path, (0, 0))
    store.remove([])
    assert store.missing([begun]) == [begun]
    assert store._segments.names() == []


def test_a_damaged_backup_that_stays_keeps_everything_from_being_freed(store: BackupStore) -> None:
    digests = [put_backup(store, number, _parts(number))[0] for number in (1, 2)]
    before = store._segments.names()
    (store._place / "roots" / digests[1]).write_bytes(b"damaged")
    assert store.remove([digests[0]], young_s=0) is False
    assert store._segments.names() == before


def test_what_is_not_there_is_told(store: BackupStore) -> None:
    with pytest.raises(BackupStoreError) as caught:
        store.manifest("0" * 64)
    assert (caught.value.code, caught.value.exit_status) == ("E-BACKUP-UNKNOWN", 3)
