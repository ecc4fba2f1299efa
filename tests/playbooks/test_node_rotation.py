"""Renewing certificates on a node: only what is due, read back, and back to the old ones if k3s does not come up."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.edgemgr.edge.plugins.module_utils import (
    activation_paths,
    certificate_renewal,
    certificate_rotation,
    converge,
    fence,
    layout,
    marker,
    node_certificates,
    observation,
    preflight,
    service,
    verify,
)
from ansible_collections.edgemgr.edge.plugins.module_utils.check import passed
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import EdgeError
from ansible_collections.edgemgr.edge.plugins.module_utils.k3s_version import parse
from ansible_collections.edgemgr.edge.plugins.module_utils.steps import Steps
from ansible_collections.edgemgr.edge.plugins.modules import rotate_certificates as module
from hypothesis import given
from hypothesis import strategies as st
from tests_support import k3s_certificates

from edgemgr.model.certificate_renewal import renewed_days
from edgemgr.model.version import K3sVersion

VERSION = "v1.33.5+k3s1"
SITE = "store-1"
OLD, NEW = timedelta(days=40), timedelta(days=365)
#: What `k3s certificate rotate` does: the leaves and their keys go, a start makes new ones.
K3S = """\
#!/bin/sh
[ "$*" = "certificate rotate" ] || exit 3
{refusal}
cd {tls} && rm -f client-admin.* client-kube-apiserver.* serving-kube-apiserver.*
"""


class Killed(BaseException):
    """What SIGKILL looks like from inside."""


class Machine:
    """A node whose k3s renews at its start what real k3s does; the API shows the serving certificate of then."""

    def __init__(self) -> None:
        self.is_active = True
        self.verbs: list[str] = []
        self.renews = True
        self.refuses: Callable[[], bool] = lambda: False  # to come up
        self.shown = 0.0
        k3s_certificates.place(self.data, leaves_end_at=now() + OLD, authorities_end_at=now() + timedelta(days=3000))
        self._show()

    @property
    def data(self) -> Path:
        return Path(layout.DATA_DIR)

    @property
    def tls(self) -> Path:
        return self.data / "server/tls"

    def ends(self) -> set[int]:
        """In how many days leaves end."""
        return {round((at - now().timestamp()) / 86400) for at in node_certificates.read().leaves.values()}

    def keys(self) -> str:
        return (self.tls / "client-admin.key").read_text()

    def state(self) -> dict[str, str]:
        return {"ActiveState": "active" if self.is_active else "inactive", "SubState": "", "LoadState": "loaded"}

    def systemctl(self, *words: str) -> str:
        assert words == ("stop", layout.UNIT)
        self.verbs.append("stop")
        self.is_active = False
        return ""

    def start(self, verb: str, timeout_s: float) -> None:
        self.verbs.append(verb)
        if self.refuses():
            raise EdgeError("E-K3S-CRASH", "k3s crashed 3 times while starting: bad certificate", "")
        missing = not (self.tls / "client-admin.crt").exists()
        if missing or (self.renews and min(self.ends()) < 120):
            k3s_certificates.place_leaves(self.data, now() + NEW)
            if not missing:
                (self.tls / "client-admin.key").write_text("old key")
        self.is_active = True
        self._show()

    def _show(self) -> None:
        self.shown = node_certificates.read().leaves["server/tls/serving-kube-apiserver.crt"]

    def install_k3s(self, refusal: str = "") -> None:
        path = Path(layout.K3S)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(K3S.format(tls=self.tls, refusal=refusal))
        path.chmod(0o755)


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def machine(node_root: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine()
    (machine.tls / "client-admin.key").write_text("old key")
    machine.install_k3s()
    marker.write(marker.INSTALLED, VERSION, site=SITE)
    for name in ("state", "systemctl", "start"):
        monkeypatch.setattr(service, name, getattr(machine, name))

    class Api:
        def read(self, path: str) -> dict[str, str]:
            assert path == "/version"
            assert machine.is_active
            return {"gitVersion": VERSION}

        def certificate_expires_at(self) -> float:
            return machine.shown

    monkeypatch.setattr(converge, "KubeApi", Api)
    monkeypatch.setattr(certificate_rotation, "KubeApi", Api)
    monkeypatch.setattr(preflight, "check_node", lambda min_memory_mib: [passed("host", "as it should be")])
    monkeypatch.setattr(observation, "observe", lambda site, version, disabled: ({"node_name": site}, []))
    monkeypatch.setattr(verify, "await_health", lambda *_, **__: {"edge_observation": {"health": "healthy"}})
    return machine


class Module:
    check_mode = False

    def __init__(self, **params: Any) -> None:
        given = {"site": SITE, "attempt": 7, "fence_wait_s": 0, "start_timeout_s": 0, "verify_timeout_s": 0}
        self.params = {"new_keys": False, **given, **params}


def run(check: bool = False, **params: Any) -> dict[str, Any]:
    steps, given = Steps(), Module(**params)
    given.check_mode = check
    result = module.body(given, steps)
    return {**steps.results(), **result}


def refused(**params: Any) -> EdgeError:
    with pytest.raises(EdgeError) as caught:
        run(**params)
    return caught.value


def test_what_is_due_is_renewed_by_a_restart_and_its_new_dates_are_told(machine: Machine) -> None:
    result = run()
    assert machine.verbs == ["restart"]
    assert machine.ends() == {365}
    assert machine.keys() == "old key"
    assert [each["step"] for each in result["edge_steps"]] == ["preflight", "restart", "read back", "verify"]
    day = certificate_renewal.day
    told = {"before": day((now() + OLD).timestamp()), "after": day((now() + NEW).timestamp())}
    assert result["edge_certificates"] == [
        {"file": f"server/tls/{name}.crt", **told} for name in sorted(k3s_certificates.LEAVES)
    ]
    assert result["changed"] is True
    assert result["edge_observation"] == {"health": "healthy"}


def test_where_nothing_is_due_nothing_is_done(machine: Machine) -> None:
    run()
    result = run(attempt=8)
    assert machine.verbs == ["restart"]
    assert (result["changed"], result["edge_observation"]) == (False, {"node_name": SITE})
    assert fence.recorded_attempt() == 7


def test_check_mode_names_what_is_due_and_touches_nothing(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "look", lambda site, version: {"edge_observation": {}})
    assert run(check=True)["edge_changes"] == [f"renew server/tls/{name}.crt" for name in k3s_certificates.LEAVES]
    assert machine.verbs == []
    assert not Path(layout.FENCE_RECORD).exists()


def test_new_keys_are_made_while_k3s_is_stopped_and_no_copy_of_the_old_ones_is_left(machine: Machine) -> None:
    run()
    machine.verbs.clear()
    result = run(attempt=8, new_keys=True)
    assert machine.verbs == ["stop", "start"]
    assert (machine.ends(), machine.keys()) == ({365}, "key")
    assert [each["step"] for each in result["edge_steps"]][1:4] == ["copy", "rotate", "start"]
    assert not (Path(layout.STATE_DIR) / "rotation").exists()


def test_the_copy_that_a_rotation_lives_on_is_for_root_alone(machine: Machine) -> None:
    certificate_rotation._take_copy()
    place = Path(layout.STATE_DIR) / "rotation"
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert (place / "tls/client-admin.key").read_text() == "old key"


def test_a_k3s_that_does_not_come_up_with_new_keys_gets_its_old_ones_back_and_runs(machine: Machine) -> None:
    before = {path.name: path.read_bytes() for path in machine.tls.iterdir()}
    machine.refuses = lambda: not (machine.tls / "client-admin.crt").exists()
    failure = refused(new_keys=True)
    assert (failure.code, failure.retry) == ("E-ROTATE-BACK", "never")
    assert "bad certificate" in failure.message
    assert machine.verbs == ["stop", "start", "stop", "start"]
    assert machine.is_active
    # They were due, so that the start has renewed them with the old keys.
    assert (set(before), machine.keys()) == ({path.name for path in machine.tls.iterdir()}, "old key")
    assert sorted(path.name for path in machine.tls.parent.iterdir()) == ["tls"]
    assert not certificate_rotation.was_cut()


@pytest.mark.parametrize(
    ("refusal", "says"), [("echo level=fatal msg=no; exit 1", "level=fatal msg=no"), ("exit 4", "it ended with 4")]
)
def test_a_k3s_that_refuses_to_make_new_keys_is_started_again(machine: Machine, refusal: str, says: str) -> None:
    machine.install_k3s(refusal)
    failure = refused(new_keys=True)
    assert (failure.code, failure.retry) == ("E-ROTATE-FAILED", "budgeted")
    assert says in failure.message
    assert machine.is_active
    assert not certificate_rotation.was_cut()


def test_a_program_that_is_gone_or_hangs_leaves_k3s_running_too(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(layout.K3S).unlink()
    assert refused(new_keys=True).code == "E-ROTATE-FAILED"
    assert machine.is_active
    machine.install_k3s("sleep 20")
    monkeypatch.setattr(certificate_rotation, "ROTATE_TIMEOUT_S", 0.2)
    assert refused(attempt=8, new_keys=True).code == "E-ROTATE-FAILED"
    assert machine.is_active


@pytest.mark.parametrize("new_keys", [False, True])
@pytest.mark.parametrize("at", ["copied", "stopped", "rotated"])
def test_a_rotation_that_was_killed_is_finished_by_the_next_attempt(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, at: str, new_keys: bool
) -> None:
    def die(*_: Any) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        if at == "copied":
            patch.setattr(service, "systemctl", die)
        elif at == "stopped":
            patch.setattr(certificate_rotation, "_certificate_rotate", die)
        else:
            patch.setattr(service, "start", die)
        with pytest.raises(Killed):
            run(new_keys=True)
    assert certificate_rotation.was_cut()
    machine.verbs.clear()
    result = run(attempt=8, new_keys=new_keys)
    assert result["changed"] is True
    assert machine.verbs[0] == "start", "the first thing is that k3s runs again"
    assert machine.is_active
    assert machine.ends() == {365}
    assert not certificate_rotation.was_cut()
    assert not (Path(layout.STATE_DIR) / "rotation").exists()


def test_a_copy_that_was_cut_off_is_none(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(source: str, target: str) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "rename", die)
        with pytest.raises(Killed):
            certificate_rotation._take_copy()
    assert not certificate_rotation.was_cut()
    run(new_keys=True)
    assert machine.keys() == "key"


def test_a_certificate_that_stays_as_it_was_is_a_failure_that_names_it(machine: Machine) -> None:
    machine.renews = False
    failure = refused()
    assert (failure.code, failure.retry) == ("E-ROTATE-STUCK", "never")
    assert "server/tls/client-admin.crt" in failure.message
    assert "--new-keys" in failure.hint
    assert machine.is_active


def test_an_api_that_goes_on_showing_an_old_certificate_is_a_failure(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_show", lambda: setattr(machine, "shown", (now() + timedelta(days=9)).timestamp()))
    failure = refused()
    assert failure.code == "E-ROTATE-STUCK"
    assert "k3s-serving" in failure.hint


def test_an_unfinished_upgrade_an_authority_that_ended_and_a_foreign_node_are_refused_untouched(
    machine: Machine,
) -> None:
    hold = Path(activation_paths.hold())
    hold.parent.mkdir(parents=True)
    hold.touch()
    assert refused().code == "E-UPGRADE-HANDS"
    hold.unlink()
    k3s_certificates.place(machine.data, leaves_end_at=now() + OLD, authorities_end_at=now() - timedelta(days=1))
    failure = refused()
    assert failure.code == "E-ROTATE-CA"
    assert [each["check"] for each in failure.details["edge_refusals"]] == ["certificates"]
    marker.write(marker.INSTALLING, VERSION)
    assert refused().code == "E-ROTATE-UNFINISHED"
    Path(layout.MARKER).unlink()
    assert refused(new_keys=True).code == "E-ROTATE-UNFINISHED"
    assert machine.verbs == []
    assert not Path(layout.FENCE_RECORD).exists()


def test_a_node_whose_certificates_are_elsewhere_is_refused(machine: Machine) -> None:
    for path in machine.tls.glob("*.crt"):
        path.unlink()
    assert refused().code == "E-ROTATE-NONE"


def test_the_node_and_the_appliance_have_one_rule_of_what_a_start_renews() -> None:
    for minor in range(20, 40):
        for patch in range(20):
            text = f"v1.{minor}.{patch}+k3s1"
            days = certificate_renewal.renewed_s(parse(text)) // 86400
            assert days == renewed_days(K3sVersion.parse(text)), text
    assert certificate_renewal.renewed_s(None) // 86400 == renewed_days(None)


@given(st.dictionaries(st.text(max_size=3), st.floats(0, 4e9), max_size=6), st.floats(0, 4e9))
def test_what_is_due_ends_before_everything_that_is_not(leaves: dict[str, float], at: float) -> None:
    due = certificate_renewal.due(leaves, parse(VERSION), at)
    rest = [ends for name, ends in leaves.items() if name not in due]
    assert max((leaves[name] for name in due), default=0.0) <= min(rest, default=float("inf"))
