"""Preflight's rules: one case file for each way in which a node can be wrong."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.edgemgr.edge.plugins.module_utils import check, checks_host, checks_k3s, checks_room
from ansible_collections.edgemgr.edge.plugins.module_utils.layout import CACHE_DIR, PROGRAM_DIR, RANCHER_DIR

CASES = sorted((Path(__file__).parent / "cases" / "preflight").glob("*.json"))
MIB = 1024 * 1024
GOOD_HOST: dict[str, Any] = {
    "os": {"ID": "debian", "PRETTY_NAME": "Debian GNU/Linux 12 (bookworm)"},
    "systemd": {"is_running": True, "has_systemctl": True},
    "python": {"version": "3.11.2", "complete": True},
    "uid": 0,
    "cgroups": [2, ["cpuset", "cpu", "io", "memory", "pids"]],
    "memory_bytes": 2048 * MIB,
    "has_default_route": True,
    "selinux": {"is_enforcing": False, "has_policy": False},
    "has_swap": False,
    "firewalls": [],
}
BINARY = {"part": "binary", "arch": "amd64", "name": "k3s", "digest": "a" * 64, "size_bytes": 70 * MIB}
IMAGES = {
    "part": "images",
    "arch": "amd64",
    "name": "k3s-airgap-images-amd64.tar.zst",
    "digest": "b" * 64,
    "size_bytes": 200 * MIB,
}


def test_a_good_node_passes_every_check() -> None:
    checks = checks_host.check_host(copy.deepcopy(GOOD_HOST), 512)
    assert {each.verdict for each in checks} == {"pass"}


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_node_with_one_fault_gets_one_verdict_for_it(path: Path) -> None:
    case = json.loads(path.read_text())
    facts = {**copy.deepcopy(GOOD_HOST), **case["facts"]}
    unusual = [each for each in checks_host.check_host(facts, 512) if each.verdict != "pass"]
    assert [(each.check, each.verdict, each.code) for each in unusual] == [tuple(each) for each in case["verdicts"]]
    for each in unusual:
        assert each.detail
        assert bool(each.hint) is (each.verdict == "block")


def test_all_refusals_come_at_once() -> None:
    facts = {**copy.deepcopy(GOOD_HOST), "uid": 1000, "memory_bytes": 100 * MIB, "has_default_route": False}
    result = check.results(checks_host.check_host(facts, 512))
    assert [each["code"] for each in result["edge_refusals"]] == ["E-PRE-SUDO", "E-PRE-MEMORY", "E-PRE-ROUTE"]
    assert len(result["edge_checks"]) == 10


def file_systems(**changes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Cache and programs on one file system, data on another."""
    base = {"size_bytes": 10**10, "inodes": 10**6, "inodes_free": 10**6, "read_only": False, "no_exec": False}
    found = {
        CACHE_DIR: {**base, "device": 1, "free_bytes": 4000 * MIB},
        PROGRAM_DIR: {**base, "device": 1, "free_bytes": 4000 * MIB},
        RANCHER_DIR: {**base, "device": 2, "free_bytes": 4000 * MIB},
    }
    for path, change in changes.items():
        found[{"programs": PROGRAM_DIR, "data": RANCHER_DIR, "cache": CACHE_DIR}[path]].update(change)
    return found


def room(missing: set[str], *, installed: bool = False, **changes: dict[str, Any]) -> list[check.Check]:
    systems = file_systems(**changes)
    devices = {path: facts["device"] for path, facts in systems.items()}
    need = checks_room.needed_bytes([BINARY, IMAGES], missing, installed, devices)
    return checks_room.check_room(systems, need, installed, 1024)


def codes(checks: list[check.Check]) -> list[str]:
    return [each.code for each in checks if each.code]


def test_enough_room_passes() -> None:
    assert codes(room({"a" * 64, "b" * 64})) == []


def test_a_disk_too_small_for_the_unpacked_images_is_refused() -> None:
    # 200 MiB of archive, 800 unpacked, 280 of unpacked binary, 1024 to stay free: 2304 MiB.
    assert codes(room(set(), data={"free_bytes": 2303 * MIB})) == ["E-PRE-DISK"]
    assert codes(room(set(), data={"free_bytes": 2304 * MIB})) == []


def test_files_that_have_come_already_need_no_room_in_the_cache() -> None:
    tight = {"free_bytes": (1024 + 200) * MIB}
    assert codes(room({"a" * 64, "b" * 64}, cache=tight, programs=tight)) == ["E-PRE-DISK"]
    assert codes(room(set(), cache=tight, programs=tight)) == []


def test_one_full_file_system_is_refused_once() -> None:
    full = {"device": 1, "free_bytes": 10 * MIB}
    refusals = room({"a" * 64}, cache=full, programs=full, data=full)
    assert codes(refusals) == ["E-PRE-DISK"]


def test_a_running_site_short_of_room_is_warned_not_refused() -> None:
    checks = room(set(), installed=True, data={"free_bytes": 100 * MIB})
    assert codes(checks) == []
    assert [each.check for each in checks if each.verdict == "warn"] == ["disk"]


def test_too_few_inodes_are_refused_and_a_file_system_without_a_number_passes() -> None:
    assert codes(room(set(), data={"inodes_free": 500})) == ["E-PRE-INODES"]
    assert codes(room(set(), data={"inodes": 0, "inodes_free": 0})) == []


@pytest.mark.parametrize("change", [{"read_only": True}, {"no_exec": True}])
def test_a_file_system_that_programs_cannot_run_from_is_refused(change: dict[str, Any]) -> None:
    assert codes(room(set(), data=change)) == ["E-PRE-DISK"]


def marked(state: str, version: str, **more: Any) -> dict[str, Any]:
    return {"state": state, "version": version, **more}


@pytest.mark.parametrize(
    ("wanted", "installed", "has_data", "code"),
    [
        ("v1.33.5+k3s1", None, False, ""),
        ("v1.33.5+k3s1", marked("installed", "v1.33.5+k3s1"), True, ""),
        ("v1.33.5+k3s1", marked("installing", "v1.33.5+k3s1"), True, ""),
        ("v1.33.5+k3s1", marked("installing", "v1.30.0+k3s1"), False, ""),
        ("v1.33.5+k3s1", marked("installing", "v1.33.4+k3s1"), True, "E-PRE-VERSION"),
        ("v1.33.5+k3s1", marked("installed", "v1.33.4+k3s1"), True, "E-PRE-VERSION"),
        ("v1.33.5+k3s1", marked("installed", "v1.32.9+k3s1"), True, "E-PRE-VERSION"),
        ("v1.33.5+k3s1", marked("installed", "v1.31.9+k3s1"), True, "E-PRE-SKIP"),
        ("v1.33.5+k3s1", marked("installed", "v1.33.5+k3s2"), True, "E-PRE-DOWNGRADE"),
        ("v1.9.0+k3s1", marked("installed", "v1.33.5+k3s2"), True, "E-PRE-VERSION"),
        ("v1.33.5+k3s1", marked("removing", "v1.33.5+k3s1"), True, "E-PRE-RESET"),
        ("v1.19.16+k3s1", None, False, "E-PRE-VERSION"),
        ("latest", None, False, "E-PRE-VERSION"),
    ],
)
def test_a_bootstrap_installs_or_converges_and_never_changes_the_version(
    wanted: str, installed: dict[str, Any] | None, has_data: bool, code: str
) -> None:
    assert checks_k3s.check_version(wanted, installed, has_data).code == code


@pytest.mark.parametrize(
    ("found", "installed", "link", "code"),
    [
        ([], None, None, ""),
        (["/usr/local/bin/k3s"], None, "", "E-PRE-FOREIGN"),
        (["/var/lib/rancher/rke2"], None, None, "E-PRE-FOREIGN"),
        (["/usr/local/bin/k3s"], marked("installed", "v1.33.5+k3s1"), "/usr/local/lib/edgemgr/k3s/x/k3s", ""),
        (["/usr/local/bin/k3s"], marked("installed", "v1.33.5+k3s1"), "", "E-PRE-FOREIGN"),
        ([], marked("installing", "v1.33.5+k3s1"), None, ""),
    ],
)
def test_a_kubernetes_that_is_not_ours_is_left_alone(
    found: list[str], installed: dict[str, Any] | None, link: str | None, code: str
) -> None:
    assert checks_k3s.check_owner(found, installed, link, active=True).code == code


@pytest.mark.parametrize(
    ("arch", "expected", "code"),
    [("amd64", "", ""), ("amd64", "amd64", ""), ("amd64", "arm64", "E-PRE-ARCH"), ("arm64", "", "E-PRE-ARCH")],
)
def test_the_architecture_has_to_fit_inventory_and_release(arch: str, expected: str, code: str) -> None:
    assert checks_k3s.check_arch(arch, expected, [BINARY, IMAGES]).code == code


def test_a_port_that_somebody_else_has_is_named_with_its_owner() -> None:
    (found,) = checks_k3s.check_ports({6443: "nginx (pid 812)"}, checks_k3s.ports_of({}))
    assert found.code == "E-PRE-PORTS"
    assert "6443 (API) by nginx (pid 812)" in found.detail


def test_a_moved_api_port_is_the_one_that_counts() -> None:
    ports = checks_k3s.ports_of({"https-listen-port": 7443})
    assert checks_k3s.check_ports({6443: "nginx (pid 812)"}, ports)[0].verdict == "pass"
    assert checks_k3s.check_ports({7443: "nginx (pid 812)"}, ports)[0].code == "E-PRE-PORTS"


def test_a_web_server_on_the_node_is_only_worth_a_warning() -> None:
    (found,) = checks_k3s.check_ports({80: "nginx (pid 812)"}, checks_k3s.ports_of({}))
    assert found.verdict == "warn"


@pytest.mark.parametrize("site", ["store-0042", "a", "a.b-c.d"])
def test_a_site_name_that_can_be_a_node_name_passes(site: str) -> None:
    assert checks_k3s.check_config(site, {}, None).verdict == "pass"


@pytest.mark.parametrize("site", ["Store", "a_b", "-a", "a.", "", "a" * 254, "a b", "a\n"])
def test_a_site_name_that_cannot_be_a_node_name_is_refused(site: str) -> None:
    assert checks_k3s.check_config(site, {}, None).code == "E-PRE-CONFIG"


def test_encryption_of_secrets_cannot_be_changed_later() -> None:
    installed = marked("installed", "v1.33.5+k3s1", secrets_encryption=False)
    assert checks_k3s.check_config("store-1", {}, installed).code == "E-PRE-CONFIG"
    assert checks_k3s.check_config("store-1", {"secrets-encryption": False}, installed).code == ""


def test_a_node_keeps_the_name_that_it_was_installed_with() -> None:
    installed = marked("installed", "v1.33.5+k3s1", site="store-1")
    assert checks_k3s.check_config("store-1", {}, installed).verdict == "pass"
    refused = checks_k3s.check_config("store-2", {}, installed)
    assert refused.code == "E-PRE-CONFIG"
    assert "installed as 'store-1'" in refused.detail
