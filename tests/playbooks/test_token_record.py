"""Which token a node has, and a backup holds: known again by its number, wherever it comes from, and never told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.edgemgr.edge.plugins.module_utils import (
    backup_place,
    backup_take,
    layout,
    observation,
    restore_course,
    restore_source,
    token_journal,
    token_record,
    token_seal,
)
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import EdgeError
from ansible_collections.edgemgr.edge.plugins.module_utils.site_plan import SitePlan
from ansible_collections.edgemgr.edge.plugins.module_utils.steps import Steps
from tests_support import backup_node, restore_node, token_node
from tests_support.activation_machine import files
from tests_support.restore_node import K3s
from tests_support.token_node import OLD, Machine, seal


@pytest.fixture
def token(node_root: Path) -> Path:
    path = Path(layout.DATA_DIR) / "server/token"
    path.parent.mkdir(parents=True)
    path.write_text(f"K10aa::server:{OLD}\n")
    return path


def test_a_token_has_the_number_of_who_made_it_or_saw_it_first(token: Path) -> None:
    assert token_record.number() is None
    assert token_record.see(5) == 5
    assert token_record.see(6) == 5
    token.write_text("K10aa::server:by-hand\n")
    assert token_record.number() is None
    assert token_record.see(7) == 7
    token.write_text("K10aa::server:made\n")
    token_record.note(9)
    assert token_record.see(10) == 9


def test_an_old_token_that_comes_back_has_its_old_number_in_either_form(token: Path) -> None:
    token_record.see(5)
    token.write_text("other\n")
    token_record.note(7)
    token.write_text(OLD)
    assert token_record.number() == 5
    token_record.note(8)
    assert token_record.number() == 8


def test_a_node_without_k3s_or_with_a_record_that_cannot_be_read_tells_none_and_begins_anew(token: Path) -> None:
    token_record.see(5)
    for odd in ("", "{", "[]", '{"salt": "x", "tokens": []}', '{"salt": "aa", "tokens": [{"number": "x", "hash": 1}]}'):
        Path(token_record.place()).write_text(odd)
        assert token_record.number() is None
    assert token_record.see(6) == 6
    token.unlink()
    assert token_record.number() is None
    token_record.note(7)
    assert "7" not in json.loads(Path(token_record.place()).read_text())


def test_only_so_many_are_kept_and_none_of_them_can_be_read_from_it(token: Path) -> None:
    for number in range(1, token_record.MOST + 3):
        token.write_text(f"K10aa::server:secret-{number}\n")
        token_record.note(number)
    text = Path(token_record.place()).read_text()
    assert len(json.loads(text)["tokens"]) == token_record.MOST
    assert "secret" not in text
    assert seal("secret-1").rpartition("/")[2] not in text, "what k3s calls it is too quick to guess"


def test_what_is_looked_at_tells_the_number_and_not_the_token(token: Path) -> None:
    token_record.see(5)
    seen = observation._node(0.0)
    assert seen["token_number"] == 5
    assert OLD not in json.dumps(seen)


def test_a_backup_tells_by_its_number_which_token_it_holds(node_root: Path) -> None:
    backup_node.install()
    assert backup_node.take(7)["token"] == 7
    assert backup_node.take(8)["token"] == 7
    (Path(layout.DATA_DIR) / "server/token").write_text("K10abc::server:another")
    token_record.note(9)
    assert backup_node.take(10)["token"] == 9
    text = json.dumps([backup_place.read_manifest(number)[0] for number in (7, 8, 10)])
    assert "another" not in text
    assert "secret" not in text


def test_a_backup_that_its_own_token_would_not_open_is_none(node_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = token_node.playing(monkeypatch)
    assert take(1)["token"] == 1
    (machine.server / "token").write_text("K10aa::server:other\n")
    with pytest.raises(EdgeError, match="sealed with another token") as caught:
        take(2)
    assert (caught.value.code, caught.value.retry) == ("E-BACKUP-TOKEN", "budgeted")
    assert backup_place.whole() == [1]


def test_one_that_is_taken_while_somebody_rotates_the_token_is_taken_again(
    node_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = token_node.playing(monkeypatch)
    tries: list[int] = []

    def settle(_pause_s: float) -> None:
        tries.append(1)
        (machine.server / "token").write_text(f"K10aa::server:{OLD}\n")

    (machine.server / "token").write_text("K10aa::server:other\n")
    told = backup_take.take("store-1", 3, sleep=settle)
    assert (told["token"], tries) == (3, [1])


def take(number: int) -> dict[str, Any]:
    return backup_take.take("store-1", number, sleep=lambda _: None)


@pytest.fixture
def k3s(node_root: Path, monkeypatch: pytest.MonkeyPatch) -> K3s:
    k3s = restore_node.playing(monkeypatch)
    restore_node.install(k3s)
    return k3s


def restore(source: restore_source.Source, plan: SitePlan | None = None) -> None:
    params = {"site": "store-1", "attempt": 9, "number": 9, "version": restore_node.VERSION}
    restore_course.restore(source, plan, {**params, "start_timeout_s": 1, "verify_timeout_s": 1}, Steps())


def test_a_restore_brings_the_number_of_its_token_back_with_it(k3s: K3s, node_root: Path) -> None:
    assert restore_node.backup(5)["token"] == 5
    (restore_node.server() / "token").write_text("K10two")
    token_record.note(7)
    token_journal.write({"number": 7}, token_journal.BEGUN)
    restore(restore_node.found(5))
    assert token_record.number() == 5
    assert not token_journal.is_unfinished(), "another token and its datastore are in"


def test_a_node_that_replaces_a_lost_one_knows_the_token_by_its_number_too(k3s: K3s, node_root: Path) -> None:
    restore_node.backup(5)
    digest, artifacts = restore_node.send(5), files(restore_node.VERSION)
    restore_node.empty(node_root, k3s)
    restore(restore_source.find(5, digest), SitePlan("store-1", restore_node.VERSION, artifacts, {}))
    assert token_record.number() == 5


def test_the_place_of_what_k3s_sealed_is_found_in_its_newest_state_only(
    node_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine: Machine = token_node.playing(monkeypatch)
    path = token_seal.database()
    assert token_seal.names(path) == {seal(OLD)}
    assert not token_seal.is_foreign(path, f"K10aa::server:{OLD}\n", token_seal.LIVE)
    assert token_seal.is_foreign(path, "short", token_seal.LIVE)
    database = machine.connect()
    database.execute("INSERT INTO kine (name, deleted, value) VALUES (?, 1, '')", (seal(OLD),))
    database.execute("INSERT INTO kine (name, deleted, value) VALUES ('/bootstrap0', 0, ''), ('/bootstrap', 0, '')")
    database.close()
    assert token_seal.names(path) == set()
    assert not token_seal.is_foreign(path, "short", token_seal.LIVE), "where nothing tells, nothing is refused"
