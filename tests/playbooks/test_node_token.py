"""A new token on a node: made without being told, fitting its datastore, and back to the old one wherever it is cut."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.edgemgr.edge.plugins.module_utils import (
    activation_paths,
    backup_etcd,
    backup_sqlite,
    fence,
    layout,
    marker,
    node_facts,
    preflight,
    service,
    token_checks,
    token_journal,
    token_record,
    token_rotation,
    token_state,
)
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import EdgeError
from ansible_collections.edgemgr.edge.plugins.module_utils.k3s_version import parse
from ansible_collections.edgemgr.edge.plugins.module_utils.steps import Steps
from ansible_collections.edgemgr.edge.plugins.modules import rotate_token as module
from tests_support import token_node
from tests_support.token_node import OLD, SITE, VERSION, WRITES, Machine, seal

from edgemgr.model.token_rotation import can_rotate
from edgemgr.model.version import K3sVersion


class Killed(BaseException):
    """What SIGKILL looks like from inside."""


@pytest.fixture
def machine(node_root: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return token_node.playing(monkeypatch)


class Module:
    check_mode = False

    def __init__(self, **params: Any) -> None:
        given = {"site": SITE, "attempt": 7, "number": 7, "fence_wait_s": 0, "min_free_mib": 0}
        self.params = {**given, "start_timeout_s": 0, "verify_timeout_s": 0, **params}


def run(check: bool = False, **params: Any) -> dict[str, Any]:
    steps, given = Steps(), Module(**params)
    given.check_mode = check
    result = module.body(given, steps)
    return {**steps.results(), **result}


def refused(**params: Any) -> EdgeError:
    with pytest.raises(EdgeError) as caught:
        run(**params)
    return caught.value


def left_over() -> list[str]:
    """What a rotation leaves beside the places that it exchanged."""
    server = Path(layout.DATA_DIR) / "server"
    names = [path.name for directory in (server, server / "cred", server / "db") for path in directory.iterdir()]
    return sorted(name for name in names if "edgemgr" in name) + ["copies"] * Path(token_journal.copies()).exists()


def assert_new(machine: Machine, number: int = 7) -> None:
    """k3s runs with a new token, and the old one opens nothing any more."""
    assert machine.is_active
    assert machine.password() != OLD
    assert machine.fits()
    assert seal(OLD) not in machine.sealed()
    assert token_record.number() == number
    assert left_over() == []
    assert not token_journal.is_unfinished()


def assert_old(machine: Machine) -> None:
    """k3s runs with the token that it had."""
    assert machine.is_active
    assert machine.password() == OLD
    assert machine.fits()
    assert left_over() == []
    assert not token_journal.is_unfinished()


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


def write(path: str, text: str) -> Path:
    place = Path(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    return place


@pytest.mark.parametrize(
    ("place", "text", "what"),
    [
        ("CONFIG", "node-name: store-1\ntoken: hidden\n", "token"),
        ("CONFIG", "# token: none\n'token-file' : /root/t\n", "token-file"),
        ("CONFIG", "{node-name: x, token: hidden}\n", "token"),
        ("CONFIG.d/90-mine.yaml", "token+: hidden\n", "token"),
        ("CONFIG.d/90-mine.yml", '"token": hidden\n', "token"),
        ("UNIT_FILE", "[Service]\nExecStart=/usr/local/bin/k3s server \\\n  --token hidden\n", "--token"),
        ("UNIT_FILE", "[Service]\nExecStart=/usr/local/bin/k3s server '--token-file=/root/t'\n", "--token-file"),
        ("UNIT_FILE", "[Service]\nExecStart=/usr/local/bin/k3s server -t hidden\n", "-t"),
        ("UNIT_FILE.d/mine.conf", '[Service]\nEnvironment="K3S_TOKEN=hidden"\n', "K3S_TOKEN"),
        ("UNIT_FILE.env", "K3S_TOKEN_FILE=/root/t\n", "K3S_TOKEN_FILE"),
    ],
)
def test_a_token_that_is_given_to_k3s_is_refused_with_the_file_that_gives_it(
    machine: Machine, place: str, text: str, what: str
) -> None:
    name, _, rest = place.partition(".")
    path = getattr(layout, name) + ("." + rest if rest else "")
    write(path, text)
    failure = refused()
    assert failure.code == "E-TOKEN-CONFIGURED"
    assert f"{what} in {path}" in failure.message
    assert "hidden" not in failure.message
    assert machine.verbs == []
    assert_old(machine)


def test_a_file_of_variables_that_the_service_names_is_looked_into(machine: Machine, node_root: Path) -> None:
    path = write(f"{node_root}/etc/default/k3s", "export K3S_TOKEN=hidden\n")
    write(layout.UNIT_FILE, f"[Service]\nEnvironmentFile=-{node_root}/etc/default/%N\nEnvironmentFile=-/none\n")
    assert f"K3S_TOKEN in {path}" in refused().message


def test_what_only_the_running_k3s_was_given_is_found_too(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    real = node_facts.text
    environment = "PATH=/bin\0K3S_TOKEN=hidden\0"
    monkeypatch.setattr(machine, "state", lambda: {"ActiveState": "active", "SubState": "", "MainPID": "4711"})
    monkeypatch.setattr(service, "state", machine.state)
    monkeypatch.setattr(
        node_facts, "text", lambda path, *more: environment if path == "/proc/4711/environ" else real(path, *more)
    )
    assert "K3S_TOKEN in the environment of the running k3s" in refused().message


@pytest.mark.parametrize(
    "text",
    [
        "node-name: store-1\nagent-token: other\nkubelet-arg:\n  - token-x\n",
        'node-label: ["token=x"]\n',
        'kube-apiserver-arg: ["service-account-extend-token-expiration=false"]\n',
    ],
)
def test_what_only_looks_like_a_token_is_none(machine: Machine, text: str) -> None:
    write(layout.CONFIG, text)
    write(layout.UNIT_FILE, "[Service]\nExecStartPre=/usr/bin/test -t 0\nExecStart=/usr/local/bin/k3s server\n")
    run()
    assert_new(machine)


def test_a_datastore_of_another_token_or_of_two_is_refused(machine: Machine) -> None:
    cut_off(machine, "after sealed")
    token_journal.end(token_journal.read() or {}, token_journal.BACK)  # as if nobody had begun anything
    assert refused(attempt=8, number=8).code == "E-TOKEN-SEALED"
    (machine.server / "token").write_text("K10aa::server:of-somebody-else\n")
    failure = refused(attempt=9, number=9)
    assert failure.code == "E-TOKEN-SEALED"
    assert "of-somebody-else" not in failure.message


def test_a_k3s_that_is_not_well_other_servers_and_a_full_disk_are_refused_untouched(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.nodes["store-1b"] = {"node-role.kubernetes.io/master": "true"}
    assert refused().code == "E-TOKEN-SERVERS"
    machine.nodes["store-1b"] = {}
    told = {each["check"]: each for each in run(check=True)["edge_checks"]}["nodes"]
    assert (told["verdict"], "store-1b" in told["detail"]) == ("warn", True)
    machine.is_active = False
    assert refused().code == "E-TOKEN-READY"
    machine.is_active = True
    assert refused(min_free_mib=1 << 30).code == "E-TOKEN-ROOM"
    assert machine.verbs == []
    assert not Path(layout.FENCE_RECORD).exists()


def test_an_old_k3s_a_database_elsewhere_and_a_node_that_is_not_ours_are_refused(machine: Machine) -> None:
    marker.write(marker.INSTALLED, "v1.28.2+k3s1", site=SITE)
    assert refused().code == "E-TOKEN-VERSION"
    marker.write(marker.INSTALLED, VERSION, site=SITE)
    (machine.server / "db").rename(machine.server / "elsewhere")
    assert refused().code == "E-TOKEN-DATASTORE"
    marker.write(marker.INSTALLING, VERSION, site=SITE)
    assert refused().code == "E-TOKEN-UNFINISHED"
    Path(layout.MARKER).unlink()
    assert refused().code == "E-TOKEN-UNFINISHED"
    assert machine.verbs == []


def test_while_an_upgrade_needs_hands_nothing_is_touched(machine: Machine) -> None:
    write(activation_paths.hold(), "")
    assert refused().code == "E-UPGRADE-HANDS"
    assert_old(machine)


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
