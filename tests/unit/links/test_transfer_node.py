"""The node's content store, with directories of this machine in the place of the node's."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgemgr.errors import SiteError
from edgemgr.links import node_archive, node_fence, node_files, node_program, node_store
from edgemgr.links.connection import CommandResult
from edgemgr.links.transfer_node import NodeStore, Reserve, StorePlace
from edgemgr.links.transfer_plan import BLOCK_BYTES, CHUNK_BYTES, Blob

CONTENT = bytes(range(256)) * 4000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
BLOB = {"digest": DIGEST, "size_bytes": len(CONTENT), "chunks": [DIGEST]}
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user")

Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def ask(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Ask:
    def ask(step: str, **more: Any) -> dict[str, Any]:
        asked = {
            "step": step,
            "attempt": 1,
            "user": "root",
            "cache": str(tmp_path / "cache/sha256"),
            "incoming": str(tmp_path / "incoming"),
            "record": str(tmp_path / "fence.json"),
            "lock": str(tmp_path / "lock"),
            "fence_wait_s": 0,
            "chunk_bytes": CHUNK_BYTES,
            "block_bytes": BLOCK_BYTES,
            "reserve_bytes": 0,
            "reserve_inodes": 0,
            "made_bytes": 0,
            "blobs": [BLOB],
            **more,
        }
        node_program.main(json.dumps(asked))
        answer: dict[str, Any] = json.loads(capsys.readouterr().out)
        return answer

    return ask


@pytest.mark.parametrize("module", [node_files, node_fence, node_store, node_archive, node_program])
def test_the_program_is_written_in_the_python_of_the_oldest_node(module: Any) -> None:
    source = Path(module.__file__).read_text()
    tree = ast.parse(source, feature_version=(3, 8))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    outside = {name for name in imported if name.partition(".")[0] not in sys.stdlib_module_names}
    assert outside <= {f"edgemgr.links.node_{name}" for name in ("files", "fence", "store", "archive")}
    assert "removesuffix" not in source
    assert "strict=" not in source


@needs_root
def test_a_login_users_file_is_copied_so_that_the_user_cannot_change_it_afterwards(ask: Ask, tmp_path: Path) -> None:
    tmp_path.chmod(0o711)
    opened = ask("open", user="nobody")
    directory = Path(opened["directory"])
    part = directory / f"{DIGEST}.part"
    assert directory.stat().st_mode & 0o777 == 0o700
    assert part.stat().st_uid == directory.stat().st_uid != 0
    part.write_bytes(CONTENT)
    with part.open("r+b") as still_open:
        before = os.fstat(still_open.fileno()).st_ino
        # The test's own process holds it open: the program ends others, never itself.
        assert ask("complete", user="nobody", directory=str(directory)) == {"wrong": []}
        still_open.write(b"later")
    stored = tmp_path / "cache/sha256" / DIGEST
    assert stored.read_bytes() == CONTENT
    assert stored.stat().st_ino != before
    assert (stored.stat().st_uid, stored.stat().st_mode & 0o777) == (0, 0o600)
    assert not directory.exists()


@needs_root
def test_whoever_still_writes_to_an_older_transfers_file_is_ended(ask: Ask) -> None:
    directory = ask("open")["directory"]
    part = Path(directory) / f"{DIGEST}.part"
    script = "import sys, time; f = open(sys.argv[1], sys.argv[2]); print('open', flush=True); time.sleep(60)"
    processes = [
        subprocess.Popen([sys.executable, "-c", script, str(part), mode], stdout=subprocess.PIPE, text=True)
        for mode in ("r+b", "rb")
    ]
    writer, reader = processes
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "open\n"
        again = ask("open", attempt=2)["directory"]
        assert writer.wait(5) < 0
        assert reader.poll() is None
    finally:
        for process in processes:
            process.kill()
            process.communicate(timeout=5)
    assert not part.exists()
    assert (Path(again) / f"{DIGEST}.part").exists()


@pytest.mark.parametrize("length", [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, 2 * BLOCK_BYTES + 5])
def test_a_partial_file_is_cut_at_its_last_whole_block(ask: Ask, length: int) -> None:
    first = Path(ask("open")["directory"])
    (first / f"{DIGEST}.part").write_bytes(CONTENT[:length])
    opened = ask("open", attempt=2)
    held = opened["held"][DIGEST]
    whole = length // BLOCK_BYTES
    assert held["chunks"] == 0
    assert held["blocks"] == [
        hashlib.sha256(CONTENT[at : at + BLOCK_BYTES]).hexdigest() for at in range(0, whole * BLOCK_BYTES, BLOCK_BYTES)
    ]
    assert (Path(opened["directory"]) / f"{DIGEST}.part").stat().st_size == whole * BLOCK_BYTES


def test_a_digest_that_is_none_touches_nothing(ask: Ask, tmp_path: Path) -> None:
    blob = {**BLOB, "digest": "../../etc/passwd"}
    assert ask("open", blobs=[blob])["error"]["code"] == "E-ARTIFACT-NAME"
    assert list((tmp_path / "cache/sha256").iterdir()) == []


def test_a_damaged_record_of_attempts_stops_everything(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "fence.json").write_text("{")
    assert ask("open")["error"]["code"] == "E-FENCE-DAMAGED"
    assert not (tmp_path / "incoming").exists()


class FakeConnection:
    """Answers a command without a node."""

    name = "store-1"

    def __init__(self, user: str, result: CommandResult | Exception) -> None:
        self.transport = SimpleNamespace(get_username=lambda: user, close=lambda: None)
        self.commands: list[str] = []
        self._result = result

    def run(self, command: str, **more: Any) -> CommandResult:
        self.commands.append(command)
        if isinstance(self._result, Exception):
            raise self._result
        return self._result


def _store(connection: FakeConnection) -> NodeStore:
    return NodeStore(connection, attempt=1, place=StorePlace())  # type: ignore[arg-type]


def test_a_user_who_is_not_root_takes_sudo_without_a_password() -> None:
    answer = CommandResult(0, '{"removed": [], "freed_bytes": 0}', "")
    for user, command in (("root", "/usr/bin/python3 -I -"), ("ops", "sudo -n /usr/bin/python3 -I -")):
        connection = FakeConnection(user, answer)
        _store(connection).prune([])
        assert connection.commands == [command]


def test_a_node_that_gives_no_answer_is_named_with_its_last_words() -> None:
    connection = FakeConnection("ops", CommandResult(1, "", "sudo: a password is required\n"))
    with pytest.raises(SiteError) as caught:
        _store(connection).open([Blob(DIGEST, 1, Path("x"), ("c",))], Reserve())
    assert caught.value.code == "E-STAGE-NODE"
    assert "sudo: a password is required" in caught.value.message
