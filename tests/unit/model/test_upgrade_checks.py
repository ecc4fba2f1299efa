"""The fifteen checks before an upgrade, as far as the appliance can judge them."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemgr.model.release import Arch
from edgemgr.model.upgrade import Hop, PlanState, Preflight, Refusal, Verdict
from edgemgr.model.upgrade_checks import Circumstances, all_checks
from edgemgr.model.upgrade_facts import OpenChange, UpgradeFacts
from edgemgr.model.upgrade_hops import goal_of
from edgemgr.model.upgrade_offer import Offer, OfferedRelease
from edgemgr.model.upgrade_room import SPARE_BYTES, needed_bytes
from edgemgr.model.upgrade_site import plan_of
from edgemgr.model.upgrade_window import begins_at, longest_s
from edgemgr.model.version import K3sVersion
from edgemgr.model.window import Window

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
GIB = 1 << 30
OFFER = Offer(
    "retail/stable/3",
    tuple(
        OfferedRelease(K3sVersion.parse(version), Arch.AMD64, (), binary_bytes=70 << 20, images_bytes=600 << 20)
        for version in ("v1.33.7+k3s1", "v1.34.6+k3s1")
    ),
)
GIVEN = Circumstances(OFFER, NOW)
GOAL = goal_of(OFFER)
TOLD = {
    "disk_free_bytes": 40 * GIB,
    "disk_size_bytes": 60 * GIB,
    "memory_bytes": 4 * GIB,
    "certificate_expires_at": "2027-08-01T00:00:00Z",
    "checked_at": "2026-11-20T11:49:58Z",
}
SITE = UpgradeFacts(
    1,
    "store-1",
    trust="pinned",
    reachability="reachable",
    contact_at=NOW,
    health="healthy",
    observed_at=NOW - timedelta(minutes=10),
    k3s_version="v1.32.9+k3s1",
    seen_arch="amd64",
    os="Debian GNU/Linux 12",
    told=TOLD,
    config={},
)


def check(name: str, site: UpgradeFacts = SITE, given: Circumstances = GIVEN, **told: Any) -> tuple[str, str]:
    """Verdict and code of one check."""
    site = replace(site, told={**site.told, **told})
    (found,) = [each for each in plan_of(site, GOAL, given).checks if each.check == name]
    assert found.detail
    assert bool(found.code) == bool(found.hint) == (found.verdict is Verdict.BLOCK)
    return found.verdict.value, found.code


def test_a_site_of_which_all_is_known_and_well_is_ready_and_only_the_network_is_asked_there() -> None:
    plan = plan_of(SITE, GOAL, GIVEN)
    assert plan.state is PlanState.READY
    assert [hop.to_version for hop in plan.hops] == ["v1.33.7+k3s1", "v1.34.6+k3s1"]
    assert plan.way == "v1.32.9+k3s1 → v1.33.7+k3s1 → v1.34.6+k3s1"
    assert [each.check for each in plan.checks if each.verdict is Verdict.ASK] == [Preflight.NETWORK]
    assert (plan.most_s, plan.why, plan.code) == (2400, "", "")


def test_a_site_of_which_nothing_is_known_is_refused_and_everything_else_is_asked_there() -> None:
    plan = plan_of(UpgradeFacts(2, "new", user="edge"), GOAL, GIVEN)
    assert plan.state is PlanState.BLOCKED
    blocked = {each.check: each.code for each in plan.checks if each.verdict is Verdict.BLOCK}
    assert blocked == {Preflight.SSH: "E-TRUST-UNKNOWN", Preflight.VERSION: "E-UPGRADE-UNKNOWN"}
    asked = {each.check for each in plan.checks if each.verdict is Verdict.ASK}
    assert asked == set(Preflight) - set(blocked) - {Preflight.BUSY, Preflight.WINDOW}


def test_a_site_at_the_goal_needs_no_checks() -> None:
    plan = plan_of(replace(SITE, k3s_version="v1.34.6+k3s1", trust="mismatch"), GOAL, GIVEN)
    assert (plan.state, plan.hops, plan.checks) == (PlanState.UP_TO_DATE, (), ())


@pytest.mark.parametrize(
    ("changes", "name", "verdict", "code"),
    [
        ({"trust": "seen"}, "ssh", "block", "E-TRUST-SEEN"),
        ({"trust": "mismatch"}, "ssh", "block", "E-SITE-IDENTITY-MISMATCH"),
        ({"reachability": "unreachable"}, "ssh", "warn", ""),
        ({"user": "edge"}, "sudo", "pass", ""),
        ({"user": "edge", "told": {}}, "sudo", "ask", ""),
        ({"wanted_arch": "arm64"}, "arch", "block", "E-PRE-ARCH"),
        ({"wanted_arch": "amd64"}, "arch", "pass", ""),
        ({"k3s_version": "v1.35.0+k3s1"}, "version", "block", "E-PRE-DOWNGRADE"),
        ({"k3s_version": "v1.31.0+k3s1"}, "version", "block", "E-UPGRADE-MISSING"),
        ({"changes": (OpenChange("reset", is_running=True),)}, "busy", "block", "E-UPGRADE-BUSY"),
        ({"changes": (OpenChange("bootstrap", is_running=False),)}, "busy", "warn", ""),
        ({"is_paused": True, "paused_why": "sale"}, "busy", "warn", ""),
        ({"health": "failing", "health_reason": "the node is not ready"}, "node", "block", "E-VERIFY-NODE"),
        ({"health": "degraded", "health_reason": "the node reports DiskPressure"}, "node", "block", "E-VERIFY-NODE"),
        ({"health": "degraded", "health_reason": "not ready: pod x"}, "node", "pass", ""),
        ({"health": "degraded", "health_reason": "not ready: pod x"}, "pods", "warn", ""),
        ({"health": "failing", "observed_at": NOW - timedelta(days=2)}, "node", "warn", ""),
        ({"observed_at": NOW - timedelta(days=2)}, "node", "ask", ""),
        ({"observed_at": NOW - timedelta(days=2)}, "pods", "ask", ""),
        ({"health": "unknown"}, "node", "ask", ""),
        ({"config": None}, "datastore", "ask", ""),
        ({"config": None}, "config", "ask", ""),
        ({"config": {"kube-apiserver-arg": ["cloud-config=/x"]}}, "config", "block", "E-K3S-OPTION"),
        ({"config": {"kubelet-arg": ["feature-gates=X=true"]}}, "config", "warn", ""),
    ],
)
def test_what_is_known_of_the_site_decides(changes: dict[str, Any], name: str, verdict: str, code: str) -> None:
    assert check(name, replace(SITE, **changes)) == (verdict, code)


@pytest.mark.parametrize(
    ("told", "name", "verdict", "code"),
    [
        ({"memory_bytes": 400 << 20}, "memory", "block", "E-PRE-MEMORY"),
        ({"memory_bytes": 900 << 20}, "memory", "warn", ""),
        ({"memory_bytes": "much"}, "memory", "ask", ""),
        ({"checked_at": "2026-11-20T11:55:00Z"}, "clock", "block", "E-PRE-CLOCK"),
        ({"checked_at": "2026-11-20T11:00:00Z"}, "clock", "ask", ""),
        ({"checked_at": "yesterday"}, "clock", "ask", ""),
        ({"certificate_expires_at": "2026-11-01T00:00:00Z"}, "certificates", "warn", ""),
        ({"certificate_expires_at": "2026-12-01T00:00:00Z"}, "certificates", "pass", ""),
        ({"certificate_expires_at": None}, "certificates", "ask", ""),
        ({"leaf_expires_at": "2026-11-01T00:00:00Z"}, "certificates", "warn", ""),
        ({"leaf_expires_at": "2027-06-01T00:00:00Z"}, "certificates", "pass", ""),
        ({"ca_expires_at": "2026-11-01T00:00:00Z"}, "certificates", "block", "E-UPGRADE-CA"),
        ({"ca_expires_at": "2027-03-01T00:00:00Z"}, "certificates", "warn", ""),
        ({"datastore": "etcd"}, "datastore", "pass", ""),
        ({"datastore": "mysql"}, "datastore", "block", "E-UPGRADE-DATASTORE"),
        ({"disk_free_bytes": 4 * GIB}, "disk", "block", "E-PRE-DISK"),
        ({"disk_free_bytes": 13 * GIB}, "disk", "warn", ""),
        ({"disk_free_bytes": None}, "disk", "ask", ""),
        ({"disk_size_bytes": 0}, "disk", "ask", ""),
        ({"datastore_bytes": 20 * GIB}, "disk", "block", "E-PRE-DISK"),
    ],
)
def test_what_the_node_told_decides(told: dict[str, Any], name: str, verdict: str, code: str) -> None:
    assert check(name, **told) == (verdict, code)


def test_32_bit_arm_has_two_names_and_is_one_architecture() -> None:
    site = replace(SITE, wanted_arch="arm", seen_arch="armhf")
    assert (site.arch, site.is_of_other_arch) == (Arch.ARM, False)


HOPS = (Hop("v1.32.9+k3s1", "v1.33.7+k3s1"), Hop("v1.33.7+k3s1", "v1.34.6+k3s1"))


def test_what_is_staged_needs_no_room_a_second_time() -> None:
    sent = needed_bytes(OFFER, Arch.AMD64, HOPS, staged=False, datastore_bytes=0)
    assert sent - needed_bytes(OFFER, Arch.AMD64, HOPS, staged=True, datastore_bytes=0) == 2 * (670 << 20)


def test_every_hop_has_a_copy_of_the_datastore_of_its_own() -> None:
    def of(hops: tuple[Hop, ...]) -> int:
        with_it, without = (
            needed_bytes(OFFER, Arch.AMD64, hops, staged=True, datastore_bytes=size) for size in (GIB, 0)
        )
        return (with_it - without) // GIB

    assert (of(HOPS[:1]), of(HOPS)) == (3, 4)


def test_a_change_of_the_configuration_alone_needs_room_for_copies_only() -> None:
    hops = (Hop("v1.32.9+k3s1", "v1.32.9+k3s1"),)
    assert needed_bytes(OFFER, Arch.AMD64, hops, staged=False, datastore_bytes=GIB) == 3 * GIB


def test_options_that_come_with_the_upgrade_count_instead_of_those_that_the_site_has() -> None:
    old = {"kube-apiserver-arg": ["cloud-config=/x"]}
    site = replace(SITE, config=old)
    assert check("config", site) == ("block", "E-K3S-OPTION")
    assert check("config", site, replace(GIVEN, config={})) == ("pass", "")
    gone = {"kubelet-arg": ["container-runtime=remote"]}  # since v1.27
    assert check("config", replace(SITE, config=gone)) == ("pass", "")
    assert check("config", given=replace(GIVEN, config=gone)) == ("block", "E-K3S-OPTION")


def test_exactly_enough_room_is_enough() -> None:
    need = needed_bytes(OFFER, Arch.AMD64, HOPS, staged=False, datastore_bytes=0) + SPARE_BYTES
    assert check("disk", disk_free_bytes=need)[0] == "warn"
    assert check("disk", disk_free_bytes=need - 1)[0] == "block"


@pytest.mark.parametrize(
    ("hours", "longest"),
    [
        ("22:00-06:00", 8 * 3600),
        ("sat,sun 01:00-05:00", 4 * 3600),
        ("sun 22:00-24:00; mon 00:00-03:00", 5 * 3600),
        ("fri 23:00-23:30", 1800),
        ("", math.inf),
    ],
)
def test_a_window_is_as_long_as_it_stays_open_at_a_time(hours: str, longest: float) -> None:
    assert longest_s(Window.parse(hours, "Europe/Berlin")) == longest


@pytest.mark.parametrize(
    ("now", "hops", "begins"),
    [
        ("2026-11-21T02:00", 2, "2026-11-21T02:00"),  # a Saturday, and it is open until five
        ("2026-11-21T03:20", 2, "2026-11-21T03:20"),  # there it is 04:20
        ("2026-11-21T03:21", 2, "2026-11-22T00:00"),  # too late for two hops of twenty minutes
        ("2026-11-21T03:40", 1, "2026-11-21T03:40"),
        ("2026-11-18T12:00", 1, "2026-11-21T00:00"),
        ("2026-11-18T12:00", 13, "2026-12-02T12:00"),  # never long enough: asked about again in two weeks
    ],
)
def test_an_upgrade_begins_when_all_its_hops_fit_into_what_is_left_of_its_hours(
    now: str, hops: int, begins: str
) -> None:
    window = Window.parse("sat,sun 01:00-05:00", "Europe/Berlin")
    moment, expected = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (now, begins))
    assert begins_at(window, moment, hops) == expected
    assert begins_at(Window.parse("", None), moment, hops) == moment


@pytest.mark.parametrize(("open_s", "verdict", "code"), [(2400, "pass", ""), (2399, "block", "E-UPGRADE-WINDOW")])
def test_a_window_must_have_room_for_all_hops_at_their_deadline(open_s: float, verdict: str, code: str) -> None:
    assert check("window", given=replace(GIVEN, open_s=open_s)) == (verdict, code)


texts = st.text("2026-11-T:Z+\x00\u202e", max_size=24) | st.datetimes().map(str)
hostile = st.none() | st.booleans() | st.integers() | st.floats() | texts | st.lists(texts, max_size=2)


@given(
    st.dictionaries(
        st.sampled_from([*TOLD, "datastore", "datastore_bytes", "ca_expires_at", "leaf_expires_at"]), hostile
    )
)
def test_whatever_a_site_tells_every_check_is_there_once_and_in_order(told: dict[str, Any]) -> None:
    for way in (HOPS, Refusal("E-UPGRADE-MISSING", "no", "way")):
        found = all_checks(replace(SITE, told=told), way, GIVEN)
        assert [each.check for each in found] == list(Preflight)
        assert all(each.detail for each in found)
        assert all(bool(each.code) == (each.verdict is Verdict.BLOCK) for each in found)
