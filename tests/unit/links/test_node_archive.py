"""Image archives put together on the node, with directories of this machine in the place of the node's."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests_support.image_archives import tar

from edgemgr.links import node_program

Ask = Callable[..., dict[str, Any]]
LAYERS = [bytes([number]) * size for number, size in enumerate((700, 512, 9000), 1)]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def archive_of(*layers: bytes) -> bytes:
    return tar({"oci-layout": b"{}", **{f"blobs/sha256/{sha256(layer)}": layer for layer in layers}})


def recipe(*layers: bytes) -> dict[str, Any]:
    """The archive of these layers as literal bytes and layers."""
    whole, parts, at = archive_of(*layers), [], 0
    for layer in layers:
        begin = whole.index(layer, at)
        parts += [base64.b64encode(whole[at:begin]).decode(), {"digest": sha256(layer), "size_bytes": len(layer)}]
        at = begin + len(layer)
    parts.append(base64.b64encode(whole[at:]).decode())
    return {"digest": sha256(whole), "size_bytes": len(whole), "parts": parts, "reserve_bytes": 0}


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    path = tmp_path / "cache/sha256"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def ask(tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> Ask:
    def ask(step: str, **more: Any) -> dict[str, Any]:
        asked = {
            "step": step,
            "attempt": 1,
            "user": "root",
            "cache": str(cache),
            "incoming": str(tmp_path / "incoming"),
            "record": str(tmp_path / "fence.json"),
            "lock": str(tmp_path / "lock"),
            "fence_wait_s": 0,
            **more,
        }
        node_program.main(json.dumps(asked))
        answer: dict[str, Any] = json.loads(capsys.readouterr().out)
        return answer

    return ask


def put(cache: Path, content: bytes) -> Path:
    path = cache / sha256(content)
    path.write_bytes(content)
    return path


def test_the_node_tells_its_machine_and_which_files_it_holds_by_themselves_or_within_archives(
    ask: Ask, cache: Path
) -> None:
    put(cache, archive_of(LAYERS[0], LAYERS[1]))
    put(cache, LAYERS[2])
    put(cache, b"no archive")
    blobs = [{"digest": sha256(layer), "size_bytes": len(layer)} for layer in (*LAYERS, b"elsewhere")]
    found = ask("look", blobs=blobs)
    assert found["machine"] == platform.machine()
    assert found["whole"] == [sha256(LAYERS[2])]
    assert found["inside"] == [sha256(LAYERS[0]), sha256(LAYERS[1])]


def test_an_archive_is_made_of_files_and_of_parts_of_older_archives(ask: Ask, cache: Path) -> None:
    older = put(cache, archive_of(LAYERS[0], LAYERS[1]))
    put(cache, LAYERS[2])
    wanted = recipe(LAYERS[1], LAYERS[2], LAYERS[0])
    assert ask("assemble", **wanted) == {"wrong": []}
    made = cache / wanted["digest"]
    assert made.read_bytes() == archive_of(LAYERS[1], LAYERS[2], LAYERS[0])
    assert made.stat().st_mode & 0o777 == 0o600
    inode = made.stat().st_ino
    assert ask("assemble", **wanted) == {"wrong": []}, "what is there is not made again"
    assert made.stat().st_ino == inode
    assert older.exists()


def test_a_damaged_source_is_taken_away_and_nothing_appears_under_the_archives_name(ask: Ask, cache: Path) -> None:
    older = put(cache, archive_of(LAYERS[0]))
    damaged = bytearray(older.read_bytes())
    damaged[damaged.index(LAYERS[0]) + 5] ^= 1
    older.write_bytes(bytes(damaged))
    put(cache, LAYERS[1])
    wanted = recipe(LAYERS[0], LAYERS[1])
    assert ask("assemble", **wanted) == {"wrong": [sha256(LAYERS[0])]}
    assert [path.name for path in cache.iterdir()] == [sha256(LAYERS[1])]


def test_a_layer_that_is_not_there_is_named(ask: Ask, cache: Path) -> None:
    wanted = recipe(LAYERS[0])
    assert ask("assemble", **wanted) == {"wrong": [sha256(LAYERS[0])]}
    assert list(cache.iterdir()) == []


def test_a_recipe_that_gives_other_bytes_than_it_promises_leaves_nothing(ask: Ask, cache: Path) -> None:
    put(cache, LAYERS[0])
    wanted = {**recipe(LAYERS[0]), "digest": "0" * 64}
    assert ask("assemble", **wanted) == {"wrong": ["0" * 64]}
    assert [path.name for path in cache.iterdir()] == [sha256(LAYERS[0])]


def test_without_room_nothing_is_begun(ask: Ask, cache: Path) -> None:
    put(cache, LAYERS[0])
    answer = ask("assemble", **{**recipe(LAYERS[0]), "reserve_bytes": 1 << 60})
    assert answer["error"]["code"] == "E-STAGE-ROOM"
    assert len(list(cache.iterdir())) == 1


def test_what_a_power_loss_left_half_made_goes_with_the_next_look(ask: Ask, cache: Path) -> None:
    (cache / f"{'a' * 64}.made").write_bytes(b"half")
    ask("look", blobs=[])
    assert list(cache.iterdir()) == []


def test_the_set_of_a_bundle_and_the_one_before_are_kept_and_nothing_that_is_in_place_is_removed(
    ask: Ask, cache: Path, tmp_path: Path
) -> None:
    runs, linked = put(cache, b"runs"), put(cache, b"linked")
    os.link(linked, tmp_path / "k3s")
    removed = []
    for content in (b"one", b"two", b"two", b"three"):
        put(cache, content)
        put(cache, b"a layer that is now within an archive")
        bundle = f"retail/stable/{content.decode()}"
        answer = ask("keep", bundle=bundle, digests=[sha256(content)], keep=[runs.name])
        removed.append({*answer["removed"]} - {sha256(b"a layer that is now within an archive")})
    assert removed == [set(), set(), set(), {sha256(b"one")}]
    assert {path.name for path in cache.iterdir()} == {runs.name, linked.name, sha256(b"two"), sha256(b"three")}


def test_with_a_record_that_cannot_be_read_nothing_is_removed_this_time(ask: Ask, cache: Path) -> None:
    put(cache, b"unknown")
    (cache.parent / "staged.json").write_text("{")
    assert ask("keep", bundle="a/b/1", digests=[], keep=[]) == {"removed": [], "freed_bytes": 0}
    assert ask("keep", bundle="a/b/1", digests=[], keep=[])["removed"] == [sha256(b"unknown")]


@pytest.mark.parametrize("damage", [b"", b"x" * 600, archive_of(LAYERS[0])[:700], b"\0" * 2048])
def test_a_file_that_is_no_whole_archive_holds_no_layers(ask: Ask, cache: Path, damage: bytes) -> None:
    put(cache, damage)
    blob = {"digest": sha256(LAYERS[0]), "size_bytes": len(LAYERS[0])}
    assert ask("look", blobs=[blob])["inside"] == []


def test_a_stage_tells_the_node_whose_work_orders_count_there(ask: Ask, tmp_path: Path) -> None:
    def kept(order_key: str) -> list[str]:
        ask("keep", bundle="retail/stable/1", digests=[], keep=[], order_key=order_key)
        return [path.read_text() for path in tmp_path.rglob("appliance-keys.pub")]

    assert kept("") == []
    assert kept("ssh-ed25519 AAAA one") == ["ssh-ed25519 AAAA one\n"]
    (path,) = tmp_path.rglob("appliance-keys.pub")
    inode = path.stat().st_ino
    assert kept("ssh-ed25519 AAAA one") == kept("") == ["ssh-ed25519 AAAA one\n"]
    assert (path.stat().st_ino, path.stat().st_mode & 0o777) == (inode, 0o600)
    assert kept("ssh-ed25519 BBBB two") == ["ssh-ed25519 BBBB two\n"]
