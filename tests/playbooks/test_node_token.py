"""A new token on a node: made without being told, fitting its datastore, and back to the old one wherever it is cut."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.edgemgr.edge.plugins.module_utils import (
    backup_etcd,
    backup_sqlite,
    fence,
    layout,
    preflight,
    service,
    token_checks,
    token_journal,
    token_record,
    token_rotation,
    token_state,
)
from ansible_collections.edgemgr.edge.plugins.module_utils.k3s_version import parse
from tests_support import token_node
from tests_support.token_module import assert_new, assert_old, left_over, refused, run
from tests_support.token_node import OLD, WRITES, Machine

from edgemgr.model.token_rotation import can_rotate
from edgemgr.model.version import K3sVersion


@pytest.fixture
def machine(node_root: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return token_node.playing(monkeypatch)


def test_k3s_draws_a_new_token_that_opens_its_datastore_and_the_old_one_does_not(machine: Machine) -> None:
    result = run()
    assert machine.verbs == ["restart"]
    assert_new(machine)
    assert [each["step"] for each in result["edge_steps"]] == ["preflight", "copy", "rotate", "restart"]
    assert (result["changed"], result["edge_token_number"]) == (True, 7)
    assert result["edge_observation"] == {"health": "healthy"}
    assert machine.objects() == ["before"]


def test_no_token_is_an_argument_a_variable_or_part_of_what_is_told(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("K3S_TOKEN", "somebody else's")
    result = run()
    ((arguments, variables),) = machine.seen()
    assert arguments == ["token", "rotate", "--server", token_node.SERVER]
    assert [name for name in variables if name.startswith("K3S")] == []
    told = json.dumps(result) + Path(token_journal.path()).read_text() + Path(token_record.place()).read_text()
    assert OLD not in told
    assert machine.password() not in told
    for path in (token_journal.path(), token_record.place()):
        assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600


def test_a_repeat_of_the_same_operation_makes_no_other_token(machine: Machine) -> None:
    run()
    token = machine.password()
    result = run(attempt=8)
    assert (machine.password(), machine.verbs, result["changed"]) == (token, ["restart"], False)
    assert result["edge_token_number"] == 7
    assert fence.recorded_attempt() == 7


def test_another_operation_makes_another_token(machine: Machine) -> None:
    run()
    token = machine.password()
    assert run(attempt=9, number=9)["edge_token_number"] == 9
    assert machine.password() != token
    assert machine.fits()


def test_check_mode_says_what_would_be_done_and_touches_nothing(machine: Machine) -> None:
    assert run(check=True)["edge_changes"] == ["make a new token", "restart k3s"]
    assert machine.verbs == []
    assert_old(machine)
    assert not Path(layout.FENCE_RECORD).exists()


def test_the_copy_that_a_rotation_lives_on_is_for_root_alone_and_of_one_moment(machine: Machine) -> None:
    token_state.take("sqlite", 7)
    place = Path(token_journal.copies())
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert (place / "token").read_text() == f"K10aa::server:{OLD}\n"
    assert (place / "agent-token").is_symlink()
    assert (place / "passwd").stat().st_mtime == (machine.server / "cred/passwd").stat().st_mtime
    assert backup_sqlite.check(str(place / "state.db")) == 2


def test_a_k3s_that_refuses_runs_as_before_and_its_words_are_told_without_the_token(machine: Machine) -> None:
    machine.order(refuse="unauthorized: OLD")
    failure = refused()
    assert (failure.code, failure.retry) == ("E-TOKEN-FAILED", "budgeted")
    assert "unauthorized: ***" in failure.message
    assert_old(machine)


def test_a_program_that_is_gone_or_hangs_leaves_k3s_running_too(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = Path(layout.K3S)
    program.write_text("#!/bin/sh\nexec sleep 20\n")
    monkeypatch.setattr(token_rotation, "ROTATE_TIMEOUT_S", 0.2)
    assert refused().code == "E-TOKEN-FAILED"
    assert_old(machine)
    program.unlink()
    assert refused(attempt=8).code == "E-TOKEN-FAILED"
    assert_old(machine)


@pytest.mark.parametrize("writes", range(1, len(WRITES)), ids=WRITES[:-1])
def test_a_k3s_that_ends_among_its_own_writes_gets_its_old_token_and_what_fits_it(
    machine: Machine, writes: int
) -> None:
    machine.order(writes=writes)
    failure = refused()
    assert (failure.code, failure.retry) == ("E-TOKEN-BACK", "never")
    assert "the server ended" in failure.message or "newer than datastore" in failure.message
    assert_old(machine)
    assert machine.objects() == ["before"]


def test_what_was_written_since_the_copy_is_kept_where_the_datastore_was_not_reached(machine: Machine) -> None:
    machine.order(writes=2)
    real = token_rotation._token_rotate

    def rotate() -> str:
        machine.add_object("meanwhile")
        return real()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(token_rotation, "_token_rotate", rotate)
        assert refused().code == "E-TOKEN-BACK"
    assert_old(machine)
    assert machine.objects() == ["before", "meanwhile"]


def test_a_k3s_that_does_not_come_up_with_the_new_token_runs_on_with_the_old_one(machine: Machine) -> None:
    machine.refuses = lambda password: "" if password == OLD else "bad token"
    failure = refused()
    assert (failure.code, failure.retry) == ("E-TOKEN-BACK", "never")
    assert "bad token" in failure.message
    assert failure.details["edge_log"] == ["level=info msg=k3s"]
    assert machine.verbs == ["restart", "stop", "start"]
    assert_old(machine)


def test_a_workload_that_does_not_come_back_is_a_reason_to_go_back(machine: Machine) -> None:
    machine.unready = lambda password: password != OLD
    failure = refused()
    assert failure.code == "E-TOKEN-BACK"
    assert "Deployment/shop/till is not ready (0/2)" in failure.message
    assert_old(machine)


def test_another_cluster_is_a_reason_to_go_back(machine: Machine) -> None:
    start = machine.start

    def other(verb: str, timeout_s: float) -> None:
        start(verb, timeout_s)
        machine.uid = "uid-1" if machine.password() == OLD else "uid-2"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service, "start", other)
        failure = refused()
    assert failure.code == "E-TOKEN-BACK"
    assert "another cluster came up" in failure.message
    assert_old(machine)


def test_a_workload_that_was_not_ready_before_is_no_reason(machine: Machine) -> None:
    machine.unready = lambda _password: True
    run()
    assert_new(machine)


def test_where_neither_token_helps_both_states_are_kept_for_hands_and_a_later_attempt_goes_on(
    machine: Machine,
) -> None:
    machine.refuses = lambda _password: "the disk is read-only"
    failure = refused()
    assert (failure.code, failure.retry) == ("E-TOKEN-HANDS", "never")
    assert "edgemgr backup restore" in failure.hint
    assert token_journal.is_unfinished()
    assert (Path(token_journal.copies()) / "token").exists()
    assert preflight.check_token().code == "E-TOKEN-CUT"
    machine.refuses = lambda _password: ""
    run(attempt=8)
    assert_new(machine)
    assert preflight.check_token().verdict == "pass"


def test_etcd_is_copied_by_k3s_and_made_anew_from_that_where_it_must_go_back(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it is sealed with only k3s knows: its start tells."""
    (machine.server / "db/etcd").mkdir()
    done: list[str] = []
    tokens = [OLD]

    def save(_attempt: int, target: str) -> None:
        Path(target).write_bytes((machine.server / "db/state.db").read_bytes())
        done.append("saved")

    def reset(snapshot: str, _timeout_s: float) -> None:
        assert machine.password() == tokens[-1], "it needs the token that the snapshot belongs to"
        for path in (machine.server / "db").glob("state.db*"):
            path.unlink()
        (machine.server / "db/state.db").write_bytes(Path(snapshot).read_bytes())
        done.append("reset")

    monkeypatch.setattr(backup_etcd, "copy", save)
    monkeypatch.setattr(backup_etcd, "reset", reset)
    # As etcd's file would be, the one that stands for it is whole at every moment.
    with_log = machine.connect
    monkeypatch.setattr(machine, "connect", lambda: _without_log(with_log()))
    machine.connect().close()
    run()
    assert (done, machine.password() != OLD) == (["saved"], True)
    tokens.append(machine.password())
    machine.refuses = lambda password: "" if password in tokens else "bad token"
    assert refused(attempt=9, number=9).code == "E-TOKEN-BACK"
    assert done == ["saved", "saved", "reset"]
    assert (machine.password(), machine.is_active, left_over()) == (tokens[-1], True, [])


def _without_log(database: Any) -> Any:
    database.execute("PRAGMA journal_mode=DELETE")
    return database


def test_the_node_and_the_appliance_have_one_rule_of_who_can_rotate() -> None:
    for minor in range(20, 40):
        for patch in range(20):
            text = f"v1.{minor}.{patch}+k3s1"
            assert token_checks.can_rotate(parse(text)) is can_rotate(K3sVersion.parse(text)), text
    assert can_rotate(K3sVersion.parse("v1.28.3+k3s1"))
    assert not can_rotate(K3sVersion.parse("v1.28.2+k3s1"))
    assert token_checks.can_rotate(None) is False
