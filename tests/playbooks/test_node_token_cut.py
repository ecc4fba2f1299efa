"""A rotation of the token that is cut off anywhere is ended by whoever comes next, and nothing is lost."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.edgemgr.edge.plugins.module_utils import (
    backup_sqlite,
    node_facts,
    service,
    token_journal,
    token_record,
    token_rotation,
    token_state,
)
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import EdgeError
from tests_support import token_node
from tests_support.token_module import assert_new, assert_old, refused, run
from tests_support.token_node import WRITES, Machine


@pytest.fixture
def machine(node_root: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return token_node.playing(monkeypatch)


class Killed(BaseException):
    """What SIGKILL looks like from inside."""


def borders() -> Iterator[tuple[str, Callable[[pytest.MonkeyPatch, Machine], None]]]:
    """Places at which a rotation is cut: before and after each step, and among the writes of k3s."""

    def cut(target: Any, name: str, *, after: bool) -> Callable[[pytest.MonkeyPatch, Machine], None]:
        def patch(monkeypatch: pytest.MonkeyPatch, _machine: Machine) -> None:
            real = getattr(target, name)

            def die(*args: Any, **more: Any) -> Any:
                if after:
                    real(*args, **more)
                raise Killed

            monkeypatch.setattr(target, name, die)

        return patch

    def among(writes: int) -> Callable[[pytest.MonkeyPatch, Machine], None]:
        def patch(monkeypatch: pytest.MonkeyPatch, machine: Machine) -> None:
            machine.order(writes=writes)
            cut(token_rotation, "_token_rotate", after=True)(monkeypatch, machine)

        return patch

    for target, name in (
        (token_state, "take"),
        (token_journal, "write"),
        (token_rotation, "_token_rotate"),
        (service, "start"),
        (token_record, "note"),
        (token_journal, "end"),
    ):
        for after in (False, True):
            yield f"{'after' if after else 'before'} {name}", cut(target, name, after=after)
    for writes in range(1, len(WRITES)):
        yield f"after {WRITES[writes - 1]}", among(writes)


BORDERS = dict(borders())


@pytest.mark.parametrize("is_same", [True, False], ids=["the same operation", "another one"])
@pytest.mark.parametrize("is_dark", [False, True], ids=["killed", "without power"])
@pytest.mark.parametrize("border", BORDERS)
def test_a_rotation_that_was_cut_off_anywhere_is_ended_by_the_next_attempt(
    machine: Machine, border: str, *, is_dark: bool, is_same: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        BORDERS[border](patch, machine)
        with pytest.raises(Killed):
            run()
    if is_dark:  # after the boot systemd starts it with what there is
        machine.is_active = machine.why_not() == ""
    machine.order()
    number = 7 if is_same else 8
    result = run(attempt=8, number=number)
    assert result["edge_token_number"] == number
    assert_new(machine, number)
    assert machine.objects() == ["before"]
    assert run(attempt=9, number=number)["changed"] is False


@pytest.mark.parametrize("is_dark", [False, True], ids=["killed", "without power"])
@pytest.mark.parametrize("count", range(1, 7))
def test_going_back_may_be_cut_off_at_every_exchange_and_is_ended_by_the_next_attempt(
    machine: Machine, count: int, *, is_dark: bool
) -> None:
    machine.order(writes=4)
    left, real = [count], os.rename

    def rename(source: str, target: str) -> None:
        if "edgemgr-token" in source:
            left[0] -= 1
            if not left[0]:
                raise Killed
        real(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "rename", rename)
        try:
            run()
        except Killed:
            was_cut = True
        except EdgeError as exc:
            was_cut = exc.code != "E-TOKEN-BACK"
    assert was_cut is (count <= 4), "three files, and the datastore"
    if is_dark and was_cut:
        assert machine.why_not(), "a boot finds nothing that it could start, and begins no new cluster"
        assert (machine.server / "db/state.db").exists()
    machine.order()
    run(attempt=8)
    assert_new(machine)
    assert machine.objects() == ["before"]


def cut_off(machine: Machine, border: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        BORDERS[border](patch, machine)
        with pytest.raises(Killed):
            run()
    machine.order()


def test_days_later_a_k3s_that_runs_with_its_new_token_keeps_it_and_what_it_has_written(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_off(machine, "before start")
    token = machine.password()
    machine.add_object("days later")
    monkeypatch.setattr(token_rotation, "_has_run_since", lambda: True)
    machine.unready = lambda _password: True
    assert run(attempt=8)["edge_token_number"] == 7
    assert_new(machine)
    assert (machine.password(), machine.objects()) == (token, ["before", "days later"])


@pytest.mark.parametrize(("border", "code"), [("before start", "E-K3S-CRASH"), ("after sealed", "E-TOKEN-HANDS")])
def test_what_k3s_has_written_since_then_is_never_put_back(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, border: str, code: str
) -> None:
    cut_off(machine, border)
    token = machine.password()
    machine.add_object("days later")
    monkeypatch.setattr(token_rotation, "_has_run_since", lambda: True)
    machine.refuses = lambda _password: "the disk is read-only"
    assert refused(attempt=8).code == code
    assert (machine.password(), machine.objects()) == (token, ["before", "days later"])
    assert token_journal.is_unfinished()
    assert machine.is_active is (code == "E-TOKEN-HANDS"), "one that runs is left alone"


def test_k3s_has_run_since_then_only_if_it_is_up_and_was_started_later_or_goes_on_for_long(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_off(machine, "before start")
    began_at = Path(token_journal.path()).stat().st_mtime
    for state, seconds, has_run in (("active", 5, True), ("active", -5, False), ("activating", 5, False)):
        monkeypatch.setattr(service, "state", lambda state=state: {"ActiveState": state, "MainPID": "4711"})
        monkeypatch.setattr(node_facts, "process_started_at", lambda _pid, at=seconds: began_at + at)
        assert token_rotation._has_run_since() is has_run
    os.utime(token_journal.path(), (began_at - 1000, began_at - 1000))
    monkeypatch.setattr(node_facts, "process_started_at", lambda _pid: began_at - 2000)
    assert token_rotation._has_run_since() is False, "it is not up"
    monkeypatch.setattr(service, "state", lambda: {"ActiveState": "active", "MainPID": "4711"})
    assert token_rotation._has_run_since() is True, "it has gone on for a quarter of an hour"


def test_a_copy_that_was_cut_off_goes_with_the_next_attempt(machine: Machine) -> None:
    cut_off(machine, "after take")
    assert not token_journal.is_unfinished()
    assert (Path(token_journal.copies()) / "token").exists()
    machine.order(refuse="no")
    assert refused(attempt=8).code == "E-TOKEN-FAILED"
    assert_old(machine)


def test_a_disk_that_is_full_while_it_is_copied_costs_nothing(machine: Machine) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backup_sqlite, "copy", full)
        with pytest.raises(OSError, match="No space"):
            run()
    assert machine.verbs == []
    assert_old(machine)


def test_a_datastore_of_another_token_or_of_two_is_refused(machine: Machine) -> None:
    cut_off(machine, "after sealed")
    token_journal.end(token_journal.read() or {}, token_journal.BACK)  # as if nobody had begun anything
    assert refused(attempt=8, number=8).code == "E-TOKEN-SEALED"
    (machine.server / "token").write_text("K10aa::server:of-somebody-else\n")
    failure = refused(attempt=9, number=9)
    assert failure.code == "E-TOKEN-SEALED"
    assert "of-somebody-else" not in failure.message
