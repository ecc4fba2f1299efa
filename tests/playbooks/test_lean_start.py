"""Built modules are linked in before the first task and back after the last one."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible import constants
from ansible_collections.edgemgr.edge.plugins.callback.lean_start import CallbackModule


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "local").mkdir()
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(tmp_path / "local"))
    return tmp_path / "local/ansiballz_cache"


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEMGR_BUILT_MODULES", str(tmp_path / "shared"))
    return tmp_path / "shared"


@pytest.fixture(autouse=True)
def _thaw() -> Iterator[None]:
    yield
    gc.unfreeze()


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_what_was_built_goes_to_the_next_process_and_nothing_half_written_does(own: Path, shared: Path) -> None:
    CallbackModule().v2_playbook_on_play_start(None)
    own.mkdir(exist_ok=True)
    for name in ("bootstrap", "bootstrap.lock", "upgrade-part"):
        (own / name).write_text(name)
    CallbackModule().v2_playbook_on_stats(None)
    assert names(shared) == ["bootstrap"]
    assert shared.stat().st_mode & 0o777 == 0o700

    for path in own.iterdir():
        path.unlink()
    own.rmdir()
    CallbackModule().v2_playbook_on_play_start(None)
    assert (own / "bootstrap").samefile(shared / "bootstrap")


def test_two_that_built_the_same_are_not_in_each_other_s_way(own: Path, shared: Path) -> None:
    own.mkdir()
    shared.mkdir()
    for directory in (own, shared):
        for name in ("bootstrap", directory.name):
            (directory / name).write_text(directory.name)
    CallbackModule().v2_playbook_on_stats(None)
    assert names(shared) == ["ansiballz_cache", "bootstrap", "shared"]
    assert (shared / "bootstrap").read_text() == "shared"


@pytest.mark.parametrize("foul", ["writable", "a link", "another's"])
def test_where_others_may_write_nothing_is_taken(own: Path, shared: Path, foul: str) -> None:
    planted = shared.with_name("planted")
    planted.mkdir()
    (planted / "bootstrap").write_text("planted")
    if foul == "a link":
        shared.symlink_to(planted)
    else:
        planted.rename(shared)
        if foul == "writable":
            shared.chmod(0o777)
        elif os.geteuid() == 0:
            os.chown(shared, 65534, 65534)
        else:
            pytest.skip("only root can give a directory away")
    CallbackModule().v2_playbook_on_play_start(None)
    assert not own.exists()


def test_without_a_directory_nothing_is_shared(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGEMGR_BUILT_MODULES", raising=False)
    callback = CallbackModule()
    callback.v2_playbook_on_play_start(None)
    callback.v2_playbook_on_stats(None)
    assert not own.exists()


def test_what_was_loaded_before_the_first_task_is_not_looked_through_again(own: Path) -> None:
    frozen = gc.get_freeze_count()
    CallbackModule().v2_playbook_on_play_start(None)
    assert gc.get_freeze_count() > frozen + 1000
