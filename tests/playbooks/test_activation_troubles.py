"""What else can go wrong while a node upgrades itself, and what it says then."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.edgemgr.edge.plugins.module_utils import (
    activation_forward,
    activation_journal,
    activation_launch,
    activation_main,
    activation_node,
    activation_paths,
    activation_release,
    activation_snapshot,
    activation_state,
    fence,
    layout,
    marker,
)
from ansible_collections.edgemgr.edge.plugins.module_utils.site_plan import SitePlan
from tests_support.activation_machine import NEW, NEWER, OLD, FakeCluster, Machine, files
from tests_support.activation_story import ATTEMPT, Story, verdict

GOOD = Story("accepted", NEW)


@pytest.fixture
def site(node_root: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Machine]:
    monkeypatch.setattr(activation_forward, "RESTORE_MARGIN_BYTES", 4096)
    monkeypatch.setattr(activation_forward, "JOURNAL_RESERVE_BYTES", 4096)
    monkeypatch.setattr("os.fsync", lambda _: None)

    def make(story: Story = GOOD, **changes: Any) -> Machine:
        machine = Machine(**story.faults)
        machine.install()
        activation_launch.write(story.plan(**changes))
        return machine

    return make


def carry_out(machine: Machine, *, is_resumed: bool = False) -> dict[str, Any]:
    activation_main.carry_out(is_resumed, machine.node())
    return verdict()


def steps(event: str = "done") -> list[str]:
    return [each["step"] for each in activation_journal.read(ATTEMPT) if each["event"] == event]


# -- time ---------------------------------------------------------------------------------------------------


def test_the_dead_man_s_timer_ends_a_start_that_hangs(site: Callable[..., Machine]) -> None:
    machine = site(Story("rolled_back", OLD, new="hang"), start_timeout_s=9999)
    found = carry_out(machine)
    assert (found["verdict"], found["version"], machine.running) == ("rolled_back", OLD, OLD)
    assert "not finished in time" in found["why"]
    assert machine.up < 100 + 60 + 1200 + 120


def test_a_link_that_stays_away_for_an_hour_is_not_even_noticed(site: Callable[..., Machine]) -> None:
    machine = site()
    carry_out(machine)
    machine.pass_time(3600)
    known = activation_state.ask()
    assert known is not None
    assert (known["state"], known["operation"], known["verdict"]["verdict"]) == ("finished", "op-1", "accepted")
    assert known["journal"][-1]["step"] == "verdict"
    carry_out(machine, is_resumed=True)  # a later boot
    assert activation_state.ask() == known


def test_the_real_dead_man_s_timer_ends_what_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = activation_node.Clock()
    with pytest.raises(activation_node.DeadlineOverError), clock.dead_man(0.02):
        clock.sleep(30)
    with clock.dead_man(30):
        pass
    clock.sleep(0.01)
    assert clock.boot()[1] > 0
    assert len(clock.boot()[0]) == 36


# -- nothing is touched -------------------------------------------------------------------------------------


def test_a_newer_attempt_keeps_an_upgrade_from_beginning(site: Callable[..., Machine]) -> None:
    machine = site()
    with fence.hold(ATTEMPT + 1, 0):
        pass
    found = carry_out(machine)
    assert found["verdict"] == "refused"
    assert found["why"] == "attempt 1017 was superseded: attempt 1018 has already worked on this node"
    assert (machine.running, len(machine.starts)) == (OLD, 1)


def test_a_newer_attempt_does_not_strand_an_upgrade_that_was_begun(site: Callable[..., Machine]) -> None:
    machine = site()
    machine.at_effect = Cut(2)
    with pytest.raises(KeyboardInterrupt):
        carry_out(machine)
    machine.at_effect = lambda: None
    with fence.hold(ATTEMPT + 1, 0):
        pass
    assert carry_out(machine)["verdict"] == "accepted"
    assert fence.recorded_attempt() == ATTEMPT + 1


class Cut:
    """Dies at the n-th request to systemd."""

    def __init__(self, number: int) -> None:
        self.left = number

    def __call__(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def test_a_damaged_file_in_the_store_is_found_before_k3s_is_stopped(site: Callable[..., Machine]) -> None:
    machine = site()
    Path(layout.cached(files(NEW)[1]["digest"])).write_bytes(b"damaged")
    found = carry_out(machine)
    assert found["verdict"] == "refused"
    assert "has changed while it lay on the node" in found["why"]
    assert (len(machine.starts), steps("failed")) == (1, ["rehash"])


def test_a_site_that_is_not_well_is_not_upgraded(site: Callable[..., Machine]) -> None:
    machine = site()
    machine.faults[OLD] = "never_ready"
    found = carry_out(machine)
    assert found["verdict"] == "refused"
    assert found["why"] == "not all is well before the upgrade: the node is not Ready: starting"


def test_a_check_of_the_user_that_fails_already_before_is_a_reason_not_to_begin(site: Callable[..., Machine]) -> None:
    machine = site(checks=[{"name": "till", "url": "http://127.0.0.1/"}])
    node = machine.node()
    node.cluster.failing_checks.append(f"till on {OLD}")  # type: ignore[attr-defined]
    activation_main.carry_out(False, node)
    assert verdict()["why"] == "not all is well before the upgrade: the check 'till' failed: no"


def test_another_k3s_than_the_plan_s_is_left_alone(site: Callable[..., Machine]) -> None:
    machine = site()
    Path(layout.K3S).unlink()
    Path(layout.K3S).write_text("binary of somebody else")
    found = carry_out(machine)
    assert found["verdict"] == "refused"
    assert "is not the k3s v1.33.5+k3s1 that edgemgr has placed" in found["why"]


# -- and back -----------------------------------------------------------------------------------------------


def test_a_check_of_the_user_that_fails_only_afterwards_leads_back(site: Callable[..., Machine]) -> None:
    machine = site(checks=[{"name": "till", "command": ["/usr/bin/till"]}])
    node = machine.node()
    node.cluster.failing_checks.append(f"till on {NEW}")  # type: ignore[attr-defined]
    activation_main.carry_out(False, node)
    found = verdict()
    assert found["verdict"] == "rolled_back"
    assert found["why"] == "v1.34.1+k3s1 was not well after 80 s: the check 'till' failed: no"


def test_an_image_of_the_plan_that_is_not_there_leads_back(site: Callable[..., Machine]) -> None:
    params = GOOD.params()
    params["hops"][0]["images"] = ["docker.io/shop/till:2"]
    machine = site(hops=params["hops"])
    found = carry_out(machine)
    assert found["verdict"] == "rolled_back"
    assert found["why"] == (
        "v1.34.1+k3s1 was not well after 80 s: images that v1.34.1+k3s1 needs are missing: docker.io/shop/till:2"
    )


def test_a_node_whose_images_cannot_be_listed_goes_back(
    site: Callable[..., Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeCluster, "images", lambda _: None)
    found = carry_out(site())
    assert found["verdict"] == "rolled_back"
    assert "containerd does not tell which images it has" in found["why"]


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("crash", "k3s crashed 3 times while starting: crash on demand"),
        ("never_ready", "v1.34.1+k3s1 was not well after 80 s: the node is not Ready: starting"),
        ("lose_workload", "v1.34.1+k3s1 was not well after 80 s: Deployment/shop/till is not ready (1/2)"),
    ],
)
def test_the_verdict_says_in_one_sentence_why(fault: str, sentence: str, site: Callable[..., Machine]) -> None:
    found = carry_out(site(Story("rolled_back", OLD, new=fault)))
    assert (found["verdict"], found["why"]) == ("rolled_back", sentence)
    assert found["hops"] == [{"from_version": OLD, "to_version": NEW, "verdict": "rolled_back", "why": sentence}]
    assert found["snapshot"] == activation_paths.snapshot(ATTEMPT, 0)


def test_the_new_state_is_kept_as_evidence_until_the_next_snapshot(site: Callable[..., Machine]) -> None:
    machine = site(Story("rolled_back", OLD, new="crash"))
    carry_out(machine)
    evidence = Path(layout.DATA_DIR) / "server/.db.edgemgr-new-state-1017-0/state.db"
    assert evidence.exists()
    machine.faults.clear()
    activation_launch.write(GOOD.plan(attempt=ATTEMPT + 1))
    assert carry_out(machine)["verdict"] == "accepted"
    assert not list((Path(layout.DATA_DIR) / "server").glob(".*"))
    assert [path.name for path in Path(activation_paths.snapshots()).iterdir()] == ["1018-0"]


def test_containers_are_ended_only_on_the_way_back(site: Callable[..., Machine]) -> None:
    machine = site()
    carry_out(machine)
    assert machine.cut_containers == 0
    activation_launch.write(
        Story("", "", hops=2).plan(attempt=ATTEMPT + 1, hops=Story("", "", hops=2).params()["hops"][1:])
    )
    machine.faults[NEWER] = "crash"
    assert carry_out(machine)["verdict"] == "rolled_back"
    assert machine.cut_containers == 1


def test_a_copy_that_does_not_fit_is_thrown_away_before_k3s_starts_again(
    site: Callable[..., Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = site()
    real = activation_snapshot.copy

    def copy(source: str, target: str) -> None:
        if target.endswith("/tls"):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(source, target)

    monkeypatch.setattr(activation_snapshot, "copy", copy)
    found = carry_out(machine)
    assert (found["verdict"], found["version"], machine.running) == ("rolled_back", OLD, OLD)
    assert "No space left on device" in found["why"]
    assert "restore" not in steps("begins")
    assert not Path(activation_paths.snapshot(ATTEMPT, 0)).exists()


def test_a_snapshot_that_rots_is_not_put_back_and_hands_are_called(
    site: Callable[..., Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = site(Story("rolled_back", OLD, new="crash"))
    token = Path(activation_paths.snapshot(ATTEMPT, 0)) / "token"
    real = machine.kill_containers
    machine.kill_containers = lambda: (token.write_text("rotten"), real())  # type: ignore[method-assign, return-value, func-returns-value]
    found = carry_out(machine)
    assert (found["verdict"], found["version"]) == ("needs_hands", "")
    assert found["why"].startswith(
        "k3s crashed 3 times while starting: crash on demand; going back failed at restore: "
    )
    assert steps("failed").count("restore") == 3
    # Both states are there, and k3s does not start on either of them by itself.
    assert (Path(layout.DATA_DIR) / "server/db/state.db").exists()
    assert (Path(activation_paths.snapshot(ATTEMPT, 0)) / "db/state.db").exists()
    assert Path(activation_paths.hold()).exists()
    machine.boot()
    assert machine.running is None


def test_an_old_version_that_does_not_come_back_is_left_running_for_the_hands(
    site: Callable[..., Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = site(Story("rolled_back", OLD, new="crash"))
    real = machine.kill_containers
    machine.kill_containers = lambda: (machine.faults.update({OLD: "never_ready"}), real())  # type: ignore[method-assign, return-value, func-returns-value]
    found = carry_out(machine)
    assert found["verdict"] == "needs_hands"
    assert "going back failed at rollback-verify" in found["why"]
    assert machine.running == OLD


def test_a_fault_of_our_own_leads_back_too(site: Callable[..., Machine], monkeypatch: pytest.MonkeyPatch) -> None:
    machine = site()

    def broken(*_arguments: object) -> None:
        raise KeyError("a mistake")

    monkeypatch.setattr(activation_release, "place", broken)
    found = carry_out(machine)
    assert (found["verdict"], machine.running) == ("rolled_back", OLD)
    assert "a mistake" in found["why"]


# -- afterwards ---------------------------------------------------------------------------------------------


def test_a_bootstrap_of_the_same_version_finds_nothing_to_do_afterwards(site: Callable[..., Machine]) -> None:
    machine = site()
    carry_out(machine)
    plan = SitePlan("store-1", NEW, files(NEW), {"debug": True})
    installed = marker.read()
    assert installed is not None
    assert installed["applied"] == plan.digest
    assert [thing.path for thing in plan.things if not thing.is_there()] == []
    assert (plan.stale_archives(), machine.running) == ([], NEW)


def test_a_reboot_before_it_was_started_means_that_nobody_wants_it_any_more(site: Callable[..., Machine]) -> None:
    machine = site()
    found = carry_out(machine, is_resumed=True)
    assert (found["verdict"], found["why"]) == ("refused", "the node was rebooted before the upgrade was started")


def test_only_one_process_carries_it_out(site: Callable[..., Machine]) -> None:
    machine = site()
    with activation_state.alone() as is_alone:
        assert is_alone
        assert (activation_state.ask() or {})["state"] == "running"
        activation_main.carry_out(False, machine.node())
    known = activation_state.ask()
    assert known is not None
    assert (known["state"], known["journal"], known["verdict"]) == ("written", [], None)


def test_a_verdict_that_was_only_in_the_journal_is_written_by_the_next_process(site: Callable[..., Machine]) -> None:
    machine = site()
    carry_out(machine)
    before = json.loads(Path(activation_paths.verdict()).read_text())
    Path(activation_paths.verdict()).unlink()
    assert activation_state.is_unfinished()
    assert carry_out(machine, is_resumed=True) == before


def test_a_fence_that_is_held_is_waited_for_and_then_it_is_refused(
    site: Callable[..., Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = site()
    monkeypatch.setattr(activation_main, "FENCE_WAIT_S", 0.0)
    with fence.hold(ATTEMPT - 1, 0):
        found = carry_out(machine)
    assert (found["verdict"], len(machine.starts)) == ("refused", 1)
    assert "another attempt is still at work" in found["why"]
