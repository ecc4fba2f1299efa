"""Putting the program on a node and starting it, and the module that does so and asks later how it went."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.edgemgr.edge.plugins.module_utils import (
    activation_forward,
    activation_launch,
    activation_main,
    activation_paths,
    activation_preflight,
    activation_state,
    fence,
    layout,
    marker,
    node_facts,
    observation,
    preflight,
    service,
)
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import EdgeError
from ansible_collections.edgemgr.edge.plugins.module_utils.steps import Steps
from ansible_collections.edgemgr.edge.plugins.modules import upgrade
from tests_support import k3s_certificates
from tests_support.activation_machine import NEW, OLD, Machine
from tests_support.activation_story import ATTEMPT, Story

GOOD = Story("accepted", NEW)


class Systemd:
    """What systemd was asked for."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.refuses = False

    def systemctl(self, *words: str) -> str:
        self.asked.append(["systemctl", *words])
        return ""

    def run(self, words: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        self.asked.append(words)
        return subprocess.CompletedProcess(words, int(self.refuses), "", "Failed to connect to bus\n")


@pytest.fixture
def systemd(node_root: Path, monkeypatch: pytest.MonkeyPatch) -> Systemd:
    fake = Systemd()
    monkeypatch.setattr(service, "systemctl", fake.systemctl)
    monkeypatch.setattr(activation_launch.subprocess, "run", fake.run)
    monkeypatch.setattr(activation_forward, "RESTORE_MARGIN_BYTES", 4096)
    monkeypatch.setattr(activation_forward, "JOURNAL_RESERVE_BYTES", 4096)
    monkeypatch.setattr(node_facts, "arch", lambda: "amd64")
    monkeypatch.setattr(observation, "observe", lambda site, version, _: ({"site": site, "k3s_version": version}, []))
    monkeypatch.setattr(preflight, "check_node", lambda _memory: [])
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/" + name)
    return fake


@pytest.fixture
def machine(systemd: Systemd) -> Machine:
    made = Machine()
    made.install()
    return made


def arguments(**changes: Any) -> dict[str, Any]:
    """The module's arguments; their files lie in the node's store."""
    fixed = {"fence_wait_s": 0, "wait_s": 0, "version": NEW, "refusal": {}, "min_free_mib": 0, "min_memory_mib": 0}
    fixed |= {"opens_in_s": 0, "asked_at": time.time(), "clock_skew_s": 60, "is_prepared": False}
    return {**fixed, **GOOD.params(), **changes}


def call(params: dict[str, Any] | None = None, *, check_mode: bool = False, **changes: Any) -> dict[str, Any]:
    """What the module would leave with."""
    steps = Steps()
    params = params or arguments(**changes)
    result = upgrade.body(SimpleNamespace(params=params, check_mode=check_mode), steps)  # type: ignore[arg-type]
    return {**steps.results(), **result}


# -- the program --------------------------------------------------------------------------------------------


def test_the_program_is_one_file_that_is_the_same_each_time() -> None:
    content = activation_launch.program()
    assert content == activation_launch.program()
    names = zipfile.ZipFile(BytesIO(content)).namelist()
    directory = activation_launch.PACKAGE.replace(".", "/")
    for needed in ("activation_main", "activation_back", "kube_api", "k3s_unit", "fence", "safe_files"):
        assert f"{directory}/{needed}.py" in names
    assert f"{directory}/preflight.py" not in names
    assert "__main__.py" in names


def test_the_program_needs_nothing_but_python(tmp_path: Path) -> None:
    path = tmp_path / "activation.pyz"
    path.write_bytes(activation_launch.program())
    # The paths are moved, so that it looks for a plan in the test's directory.
    script = (
        "import runpy, sys\n"
        f"sys.path.insert(0, {str(path)!r})\n"
        f"from {activation_launch.PACKAGE} import layout\n"
        f"layout.STATE_DIR = {str(tmp_path / 'state')!r}\n"
        f"sys.argv = [{str(path)!r}, 'resume']\n"
        f"runpy.run_path({str(path)!r}, run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert not (tmp_path / "state").exists()


def test_the_program_is_written_for_the_oldest_python_of_a_site() -> None:
    archive = zipfile.ZipFile(BytesIO(activation_launch.program()))
    for name in archive.namelist():
        ast.parse(archive.read(name), name, feature_version=(3, 8))


# -- starting it --------------------------------------------------------------------------------------------


def test_an_upgrade_is_started_detached_and_the_module_returns_at_once(
    machine: Machine, systemd: Systemd, node_root: Path
) -> None:
    result = call()
    assert result["edge_activation"] == {
        "id": ATTEMPT, "operation": "op-1", "state": "written", "journal": [], "verdict": None,
    }  # fmt: skip
    assert (result["changed"], result["edge_changes"]) == (True, [f"{OLD} -> {NEW}"])
    assert [each["step"] for each in result["edge_steps"]] == ["preflight", "start", "wait"]
    reload, enable, started = systemd.asked
    assert (reload, enable) == (["systemctl", "daemon-reload"], ["systemctl", "enable", "edgemgr-upgrade.service"])
    assert started[:3] == ["systemd-run", "--unit=edgemgr-upgrade-1017", "--collect"]
    assert "--property=Restart=on-failure" in started
    assert started[-4:] == [sys.executable, "-I", activation_paths.program(), "run"]
    assert Path(activation_paths.program()).read_bytes() == activation_launch.program()
    unit = Path(activation_paths.boot_unit_file()).read_text()
    assert f"ExecStart={sys.executable} -I {activation_paths.program()} resume\n" in unit
    assert "Before=k3s.service\n" in unit
    guard = Path(layout.UNIT_FILE + ".d/edgemgr-upgrade.conf").read_text()
    assert f"ExecStartPre=/usr/bin/test ! -e {activation_paths.hold()}\n" in guard
    assert fence.recorded_attempt() == ATTEMPT


def test_asked_again_it_starts_nothing_and_tells_how_it_ended(machine: Machine, systemd: Systemd) -> None:
    call()
    activation_main.carry_out(False, machine.node())
    systemd.asked.clear()
    result = call(attempt=ATTEMPT + 5)
    assert result["edge_activation"]["verdict"]["verdict"] == "accepted"
    assert result["edge_activation"]["journal"][-1]["step"] == "verdict"
    assert result["edge_observation"]["k3s_version"] == NEW
    assert (result["changed"], systemd.asked) == (False, [])


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        ("crash", "E-UPGRADE-ROLLED-BACK", "the node went back to v1.33.5+k3s1: k3s crashed 3 times"),
        ("reboot", "E-UPGRADE-REFUSED", "the node refused the upgrade: the node was rebooted before"),
    ],
)
def test_an_upgrade_that_did_not_come_through_is_a_failure_with_its_reason(
    fault: str, code: str, words: str, machine: Machine, systemd: Systemd
) -> None:
    call()
    if fault == "crash":
        machine.faults[NEW] = "crash"
    activation_main.carry_out(fault == "reboot", machine.node())
    with pytest.raises(EdgeError) as caught:
        call(attempt=ATTEMPT + 5)
    assert (caught.value.code, caught.value.retry) == (code, "never")
    assert caught.value.message.startswith(words)
    assert caught.value.details["edge_observation"]["k3s_version"] == OLD
    assert caught.value.details["edge_activation"]["state"] == "finished"


def test_an_upgrade_that_nobody_is_at_any_more_is_started_again(machine: Machine, systemd: Systemd) -> None:
    call()
    machine.at_effect = die
    with pytest.raises(KeyboardInterrupt):
        activation_main.carry_out(False, machine.node())
    systemd.asked.clear()
    result = call(attempt=ATTEMPT + 5)
    assert result["edge_activation"]["state"] == "interrupted"
    assert systemd.asked == [["systemctl", "start", "--no-block", "edgemgr-upgrade.service"]]


def die() -> None:
    raise KeyboardInterrupt


def test_another_upgrade_has_to_wait_for_the_one_under_way(machine: Machine, systemd: Systemd) -> None:
    call()
    with activation_state.alone():
        waits = call(attempt=ATTEMPT + 5, operation="op-2")
        assert waits["msg"] == "the node carries out the upgrade that was asked for before by itself: it begins"
        assert (waits["edge_activation"]["operation"], waits["edge_resume_s"] > 0) == ("op-1", True)
        assert "edge_observation" not in waits
        assert call(attempt=ATTEMPT + 6)["edge_activation"]["state"] == "running"


def test_outside_of_its_hours_it_is_not_begun_and_one_that_was_begun_is_told_of(
    machine: Machine, systemd: Systemd
) -> None:
    waits = call(opens_in_s=7200)
    assert (waits["edge_waits_s"], waits["msg"]) == (7200, "its hours have not come")
    assert "edge_observation" not in waits
    assert activation_state.ask() is None
    call()
    activation_main.carry_out(False, machine.node())
    assert call(opens_in_s=7200)["edge_activation"]["verdict"]["verdict"] == "accepted"


def test_a_plan_that_was_never_begun_gives_way(machine: Machine, systemd: Systemd) -> None:
    call()
    result = call(attempt=ATTEMPT + 5, operation="op-2")
    assert (result["edge_activation"]["id"], result["edge_activation"]["operation"]) == (ATTEMPT + 5, "op-2")


def test_the_verdict_of_the_one_before_is_told_once_more(machine: Machine, systemd: Systemd) -> None:
    call()
    machine.faults[NEW] = "crash"
    activation_main.carry_out(False, machine.node())
    result = call(attempt=ATTEMPT + 5, operation="op-2")
    assert result["edge_previous"]["verdict"] == "rolled_back"
    assert result["edge_activation"]["journal"] == []


def test_as_long_as_there_is_no_verdict_nothing_has_failed_and_nothing_is_reported(
    machine: Machine, systemd: Systemd
) -> None:
    call()
    machine.at_effect = die
    with pytest.raises(KeyboardInterrupt):
        activation_main.carry_out(False, machine.node())
    result = call(attempt=ATTEMPT + 5)
    assert result["edge_resume_s"] > 0
    assert re.fullmatch(r"the node carries out the upgrade by itself: it stands at '[a-z-]+' of hop 1", result["msg"])
    assert "edge_observation" not in result


def test_a_node_that_has_the_version_already_is_left_alone(machine: Machine, systemd: Systemd) -> None:
    result = call(version=OLD, hops=[])
    assert result["edge_observation"]["k3s_version"] == OLD
    assert (result["changed"], systemd.asked, activation_state.ask()) == (False, [], None)


def test_an_authority_that_has_ended_blocks_before_anything_is_written(machine: Machine, systemd: Systemd) -> None:
    ended = datetime.now(UTC) - timedelta(days=1)
    k3s_certificates.place(Path(layout.DATA_DIR), leaves_end_at=ended, authorities_end_at=ended)
    with pytest.raises(EdgeError) as caught:
        call()
    assert (caught.value.code, caught.value.retry) == ("E-UPGRADE-CA", "never")
    assert (systemd.asked, activation_state.ask()) == ([], None)


def test_without_a_way_it_is_refused_unless_it_was_begun_here(machine: Machine, systemd: Systemd) -> None:
    none = {"code": "E-UPGRADE-MISSING", "message": "v1.35 is missing", "hint": "Import it."}
    with pytest.raises(EdgeError) as caught:
        call(refusal=none, hops=[])
    assert (caught.value.code, caught.value.retry) == ("E-UPGRADE-MISSING", "never")
    assert caught.value.details["edge_refusals"] == [{**none, "check": "version"}]
    call()
    activation_main.carry_out(False, machine.node())
    result = call(attempt=ATTEMPT + 5, refusal=none, hops=[])
    assert result["edge_activation"]["verdict"]["verdict"] == "accepted"


def test_a_bootstrap_and_a_reset_wait_for_the_end_of_an_upgrade(machine: Machine, systemd: Systemd) -> None:
    assert preflight.check_upgrade(is_kept=True).verdict == "pass"
    call()
    assert preflight.check_upgrade(is_kept=True).verdict == "pass", "it was not begun, and gives way"
    with activation_state.alone():
        assert preflight.check_upgrade(is_kept=True).code == "E-UPGRADE-BUSY"
        activation_state.withdraw_unbegun()
        assert activation_state.is_unfinished()
    activation_state.withdraw_unbegun()
    assert activation_state.ask() is None


def test_a_node_that_needs_hands_may_only_be_reset(machine: Machine, systemd: Systemd) -> None:
    hold = Path(activation_paths.hold())
    hold.parent.mkdir(parents=True)
    hold.touch()
    assert preflight.check_upgrade(is_kept=True).code == "E-UPGRADE-HANDS"
    assert preflight.check_upgrade(is_kept=False).verdict == "pass"


def test_a_clock_that_is_behind_blocks_and_one_that_may_be_ahead_is_left_to_the_controller(
    machine: Machine, systemd: Systemd
) -> None:
    with pytest.raises(EdgeError) as caught:
        call(asked_at=time.time() + 3600)
    assert caught.value.code == "E-PRE-CLOCK"
    asked = call(asked_at=time.time() - 3600)
    assert (asked["edge_pending"], asked["edge_clock"] > time.time() - 60) == (["clock"], True)
    assert (activation_state.ask(), systemd.asked) == (None, [])
    assert call(asked_at=time.time() - 3600, is_prepared=True)["edge_activation"]["state"] == "written"


def test_a_configuration_that_the_node_has_already_is_no_change(machine: Machine, systemd: Systemd) -> None:
    hops = Story("", "", config=True).params()["hops"]
    hops[0]["config"] = {}
    assert call(version=OLD, hops=hops)["edge_observation"]["k3s_version"] == OLD
    assert (systemd.asked, activation_state.ask()) == ([], None)
    hops[0]["config"] = {"debug": True}
    assert call(version=OLD, hops=hops)["edge_activation"]["state"] == "written"


def test_an_address_that_the_node_does_not_have_blocks_before_anything_is_written(
    machine: Machine, systemd: Systemd
) -> None:
    hops = Story("", "", config=True).params()["hops"]
    hops[0]["config"] = {"node-ip": "192.0.2.7"}
    with pytest.raises(EdgeError) as caught:
        call(version=OLD, hops=hops)
    assert (caught.value.code, "192.0.2.7" in caught.value.message) == ("E-PRE-ADDRESS", True)
    assert (activation_state.ask(), systemd.asked) == (None, [])


def test_what_the_cluster_tells_of_addresses_and_old_apis_is_told_on(
    machine: Machine, systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Api:
        def read_or_none(self, path: str) -> dict[str, Any]:
            assert path == "/api/v1/nodes/store-1"
            return {"status": {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}]}}

        def text(self, path: str) -> str:
            assert path == "/metrics"
            labels = 'group="batch",removed_release="1.34",resource="cronjobs",subresource="",version="v1beta1"'
            return f"# TYPE x gauge\napiserver_requested_deprecated_apis{{{labels}}} 1\n"

    monkeypatch.setattr(activation_preflight, "KubeApi", Api)
    found = {each["check"]: each for each in call()["edge_checks"]}
    assert (found["address"]["verdict"], found["address"]["detail"]) == ("pass", "127.0.0.1")
    assert found["apis"]["verdict"] == "warn"
    assert found["apis"]["detail"] == "somebody uses batch/v1beta1/cronjobs, which v1.34 takes away"


def test_the_state_s_copies_need_room(machine: Machine, systemd: Systemd) -> None:
    with pytest.raises(EdgeError) as caught:
        call(min_free_mib=1 << 40)
    assert (caught.value.code, activation_state.ask()) == ("E-PRE-DISK", None)


def test_check_mode_tells_what_would_be_done_and_writes_nothing(machine: Machine, systemd: Systemd) -> None:
    result = call(check_mode=True)
    assert result["edge_changes"] == [f"{OLD} -> {NEW}"]
    assert (activation_state.ask(), systemd.asked) == (None, [])


@pytest.mark.parametrize(
    ("break_it", "code"),
    [
        (lambda: Path(layout.MARKER).unlink(), "E-PRE-FOREIGN"),
        (lambda: [path.unlink() for path in Path(layout.CACHE_DIR).iterdir()], "E-PRE-STAGED"),
    ],
)
def test_who_is_refused_is_left_as_he_was(
    break_it: Callable[[], Any], code: str, machine: Machine, systemd: Systemd
) -> None:
    params = arguments()
    break_it()
    with pytest.raises(EdgeError) as caught:
        call(params)
    assert caught.value.code == code
    assert (activation_state.ask(), systemd.asked) == (None, [])
    assert not Path(layout.FENCE_RECORD).exists()


def test_a_plan_from_another_version_than_the_installed_one_is_refused(machine: Machine, systemd: Systemd) -> None:
    story = Story("", "", hops=2)
    with pytest.raises(EdgeError, match=r"the node has v1.33.5\+k3s1 \(installed\), the plan begins at v1.34.1\+k3s1"):
        call(hops=story.params()["hops"][1:])


def test_what_cannot_be_changed_after_the_first_start_is_refused(machine: Machine, systemd: Systemd) -> None:
    marker.write("installed", OLD, applied="", site="store-1", secrets_encryption=True)
    hops = Story("", "", config=True).params()["hops"]
    hops[0]["config"] = {"secrets-encryption": False}
    with pytest.raises(EdgeError, match="secrets-encryption cannot be changed after the first start"):
        call(hops=hops)


def test_when_systemd_refuses_no_plan_stays_behind(machine: Machine, systemd: Systemd) -> None:
    systemd.refuses = True
    with pytest.raises(EdgeError, match="Failed to connect to bus") as caught:
        call()
    assert caught.value.code == "E-UPGRADE-START"
    assert activation_state.ask() is None


def test_a_superseded_attempt_starts_nothing(machine: Machine, systemd: Systemd) -> None:
    with fence.hold(ATTEMPT + 1, 0):
        pass
    with pytest.raises(EdgeError) as caught:
        call()
    assert caught.value.code == "E-FENCE-STALE"
    assert activation_state.ask() is None
