"""100 backups of one changing datastore: what they take, beside what changed."""

from __future__ import annotations

import random
from contextlib import closing
from pathlib import Path

import pytest
from ansible_collections.edgemgr.edge.plugins.module_utils import backup_sqlite
from tests_support import kine_writer
from tests_support.backup_files import put_backup

from edgemgr.inventory.backup_store import open_store
from edgemgr.vault.vault import Vault

BACKUPS = 100
OBJECTS = 4000
CHANGES = 150


@pytest.mark.slow
def test_a_hundred_backups_of_a_changing_datastore_take_little_more_than_the_changes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dice, vault = random.Random(4), Vault(bytes(range(32)))  # noqa: S311 - repeatable
    path = tmp_path / "state.db"
    files = dice.randbytes(300_000)
    seen: set[bytes] = set()
    whole = changed = 0
    digests = []
    with closing(kine_writer.connect(str(path))) as database, open_store(tmp_path / "kept", vault, "s") as store:
        for _ in range(2 * OBJECTS):
            kine_writer.change(database, dice, objects=OBJECTS)
        for number in range(1, BACKUPS + 1):
            for _ in range(CHANGES):
                kine_writer.change(database, dice, objects=OBJECTS)
            kine_writer.compact(database)
            copied = tmp_path / "copy"
            backup_sqlite.copy(str(path), str(copied))
            data = copied.read_bytes()
            copied.unlink()
            pages = {data[at : at + 4096] for at in range(0, len(data), 4096)}
            if number > 1:
                changed += 4096 * len(pages - seen)
            else:
                first = len(data)
            seen |= pages
            whole += len(data)
            digests.append(put_backup(store, number, {"state.db": data, "files.tar": files})[0])
            if number == 1:
                first_stored = store.stored_bytes
        total = store.stored_bytes
        raw = sum(size for name in store._segments.names() for size in store._segments.head(name).values())
        for digest in (digests[0], digests[50], digests[-1]):
            store.verify(digest)
        store.write_part(digests[-1], "state.db", tmp_path / "last")
        assert (tmp_path / "last").read_bytes() == data
        assert backup_sqlite.check(str(tmp_path / "last")) > 0
        store.remove(digests[:-10], young_s=0)
        ten = store.stored_bytes
        store.verify(digests[-1])
    with capsys.disabled():
        print(  # noqa: T201 - the figures are what this test is for
            f"\n{BACKUPS} backups of a datastore of {first / 1e6:.1f} MB: {whole / 1e6:.0f} MB as copies;"
            f" {first / 1e6:.1f} MB and {changed / 1e6:.1f} MB of changed pages, for which {raw / 1e6:.1f} MB are kept,"
            f" compressed to {total / 1e6:.1f} MB (the first backup to {first_stored / 1e6:.1f} MB);"
            f" after pruning to 10: {ten / 1e6:.1f} MB"
        )
    assert raw < 1.15 * (first + len(files) + changed)
    assert total < raw
    assert total < whole / 10
    assert ten < total
