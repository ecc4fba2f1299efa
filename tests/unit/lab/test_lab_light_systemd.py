"""The stand-in for systemd of light sites: how it reads units, and how it keeps a service."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from edgemgr.lab.light_systemd import command, supervisor, unit
from edgemgr.lab.light_systemd.supervisor import Supervisor
from edgemgr.lab.light_systemd.unit import Unit, seconds

BUDGET_S = 20.0


@pytest.fixture
def units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folders = (tmp_path / "etc", tmp_path / "run")
    for folder in folders:
        folder.mkdir()
    for module in (unit, command):
        monkeypatch.setattr(module, "UNIT_DIRS", folders)
    monkeypatch.setattr(unit, "STATE_DIR", tmp_path / "s")
    for module in (unit, supervisor):
        monkeypatch.setattr(module, "LOG_DIR", tmp_path / "log")
    return folders[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90", 90.0), ("1min 30s", 90.0), ("100ms", 0.1), ("infinity", float("inf")), ("0", 0.0), ("2h", 7200.0)],
)
def test_time_spans_are_read_as_systemd_does(text: str, expected: float):
    assert seconds(text) == expected


def test_an_empty_assignment_forgets_and_a_drop_in_overrides(units: Path):
    (units / "a.service").write_text("[Service]\nExecStart=/bin/one\nRestart=no\n")
    (units / "a.service.d").mkdir()
    (units / "a.service.d/10.conf").write_text(
        "[Service]\nExecStart=\nExecStart=/bin/two \\\n  three\nRestart=always\n"
    )
    assert Unit("a").commands("ExecStart") == [(["/bin/two", "three"], False)]
    assert Unit("a").option("Restart") == "always"


def test_variables_are_filled_in_and_a_dash_lets_a_command_fail(units: Path, tmp_path: Path):
    (tmp_path / "env").write_text("# remark\nFROM_FILE='a b'\n")
    (units / "a.service").write_text(
        '[Service]\nEnvironment="A=x y" B=1\n'
        f"EnvironmentFile={tmp_path}/env\nEnvironmentFile=-{tmp_path}/none\n"
        "ExecStartPre=-/bin/pre ${A} $A $$A 50%% %n ${FROM_FILE}\n"
    )
    words = ["/bin/pre", "x y", "x", "y", "$A", "50%", "a.service", "a b"]
    assert Unit("a").commands("ExecStartPre") == [(words, True)]


def test_enabling_makes_the_links_and_disabling_removes_them(units: Path, capsys: pytest.CaptureFixture[str]):
    (units / "a.service").write_text("[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n")
    assert command.systemctl(["is-enabled", "a"]) == 1
    assert command.systemctl(["enable", "a"]) == 0
    assert (units / "multi-user.target.wants/a.service").is_symlink()
    assert command.systemctl(["is-enabled", "a"]) == 0
    assert command.systemctl(["disable", "a"]) == 0
    assert not (units / "multi-user.target.wants/a.service").is_symlink()
    assert capsys.readouterr().out.split() == ["disabled", "enabled"]


def test_an_unknown_unit_is_told_as_systemctl_tells_it(units: Path, capsys: pytest.CaptureFixture[str]):
    assert command.systemctl(["start", "none"]) == 5
    assert command.systemctl(["status", "none"]) == 4
    assert command.systemctl(["is-active", "none"]) == 3
    assert command.systemctl(["show", "-p", "LoadState,ActiveState", "none"]) == 0
    assert "LoadState=not-found\nActiveState=inactive\n" in capsys.readouterr().out


def test_it_names_itself_a_stand_in(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/systemctl", "--version"])
    with pytest.raises(SystemExit) as left:
        command.main()
    assert left.value.code == 0
    assert "stand-in" in capsys.readouterr().out


def supervise(name: str) -> tuple[Unit, int]:
    """A supervisor as `systemctl start` forks it, but waited for by the test."""
    served = Unit(name)
    lock = served.lock()
    assert lock is not None
    state = {"ActiveState": "activating", "SubState": "start", "MainPID": "0", "NRestarts": "0"}
    state |= {"Result": "success", "ExecMainStatus": "0", "Job": "running"}
    served.write_state(state)
    pid = os.fork()
    if pid == 0:
        try:
            Supervisor(served, state | {"Supervisor": str(os.getpid())}).run()
        finally:
            os._exit(0)
    os.close(lock)
    return served, pid


def wait_for(served: Unit, **wanted: str) -> dict[str, str]:
    deadline = time.monotonic() + BUDGET_S
    while True:
        state = served.state()
        if wanted.items() <= state.items():
            return state
        assert time.monotonic() < deadline, state
        time.sleep(0.01)


def test_a_notifying_service_is_active_only_when_it_says_so_and_ends_when_told(units: Path, tmp_path: Path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    program = tmp_path / "served.py"
    program.write_text(
        "import os, socket, time\n"
        f"open({str(gate)!r}).read()\n"
        "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        "s.sendto(b'STATUS=up\\nREADY=1', os.environ['NOTIFY_SOCKET'])\n"
        "print('serving', flush=True)\n"
        "time.sleep(60)\n"
    )
    (units / "a.service").write_text(f"[Service]\nType=notify\nExecStart={sys.executable} -IS {program}\n")
    served, pid = supervise("a")
    state = wait_for(served, ActiveState="activating", SubState="start")
    assert state["Job"] == "running"
    gate.write_text("go")
    state = wait_for(served, ActiveState="active", SubState="running", Job="done")
    assert served.is_supervised()
    os.kill(int(state["MainPID"]), 0)
    os.kill(pid, signal.SIGTERM)
    os.waitpid(pid, 0)
    assert served.state()["ActiveState"] == "inactive"
    with pytest.raises(ProcessLookupError):
        os.kill(int(state["MainPID"]), 0)


def test_a_service_that_always_restarts_counts_its_restarts(units: Path):
    (units / "a.service").write_text(
        "[Service]\nType=notify\nRestart=always\nRestartSec=10ms\nExecStart=/bin/sh -c 'echo again; exit 3'\n"
    )
    served, pid = supervise("a")
    deadline = time.monotonic() + BUDGET_S
    while int(served.state()["NRestarts"]) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert served.state()["Job"] == "failed"
    os.kill(pid, signal.SIGTERM)
    os.waitpid(pid, 0)
    assert served.state()["ActiveState"] == "inactive"
    assert served.log.read_text().startswith("again\nagain\nagain\n")


def test_a_service_that_fails_once_is_failed_until_reset(units: Path):
    (units / "a.service").write_text("[Service]\nExecStart=/no/such/program\n")
    served, pid = supervise("a")
    os.waitpid(pid, 0)
    assert served.state()["ActiveState"] == "failed"
    assert "/no/such/program" in served.log.read_text()
    assert command.systemctl(["reset-failed", "a"]) == 0
    assert served.state()["ActiveState"] == "inactive"


def test_a_service_whose_supervisor_was_killed_is_failed(units: Path):
    (units / "a.service").write_text("[Service]\nExecStart=/bin/sleep 60\n")
    served, pid = supervise("a")
    main = int(wait_for(served, ActiveState="active")["MainPID"])
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.kill(main, signal.SIGKILL)
    assert served.state()["ActiveState"] == "failed"
