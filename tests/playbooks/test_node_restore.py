"""A restore on the node: the same cluster comes up, on the same node or an empty one; or what was there does again."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.edgemgr.edge.plugins.module_utils import (
    backup_place,
    layout,
    marker,
    preflight,
    restore_checks,
    restore_course,
    restore_files,
    restore_places,
    restore_source,
)
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import EdgeError
from ansible_collections.edgemgr.edge.plugins.module_utils.site_plan import SitePlan
from ansible_collections.edgemgr.edge.plugins.module_utils.steps import Steps
from tests_support import restore_node
from tests_support.activation_machine import files
from tests_support.restore_node import VERSION, K3s, add_object, cluster_id, fingerprint, found, objects

OTHER = "v1.34.1+k3s1"


class Killed(BaseException):
    """What SIGKILL looks like from inside."""


@pytest.fixture
def k3s(node_root: Path, monkeypatch: pytest.MonkeyPatch) -> K3s:
    """A node with backup 7, in which object `a` is; then `b` was added."""
    k3s = restore_node.playing(monkeypatch)
    restore_node.install(k3s)
    add_object("a")
    restore_node.backup(7)
    add_object("b")
    return k3s


def run(source: restore_source.Source, plan: SitePlan | None = None, *, attempt: int = 20, number: int = 20) -> Any:
    params = {
        "attempt": attempt,
        "number": number,
        "site": "store-1",
        "version": VERSION,
        "start_timeout_s": 10,
        "verify_timeout_s": 10,
    }
    return restore_course.restore(source, plan, params, Steps())


def test_the_same_node_has_the_cluster_of_the_backup_again_and_the_newer_state_beside_it(k3s: K3s) -> None:
    before, identity = fingerprint(), cluster_id()
    (restore_node.server() / "tls/server-ca.key").write_text("ANOTHER KEY")
    (restore_node.server() / "psa.yaml").write_text("changed")
    told = run(found(7))
    assert objects() == ["a"]
    assert (fingerprint(), cluster_id()) == (before, identity)
    assert k3s.active
    assert k3s.enabled
    assert k3s.verbs[-6:] == ["disable", "stop", "kill-containers", "daemon-reload", "enable", "start"]
    assert f"{restore_node.server()}/.db.edgemgr-before-restore" in told["edge_kept"]
    assert (restore_node.server() / ".tls.edgemgr-before-restore/server-ca.key").read_text() == "ANOTHER KEY"
    assert (marker.read() or {})["disabled_components"] == ["traefik"]


def test_times_and_permissions_are_those_of_the_backup(k3s: K3s) -> None:
    authority = restore_node.server() / "tls/server-ca.crt"
    before = authority.stat()
    os.utime(authority, (before.st_mtime + 500, before.st_mtime + 500))
    run(found(7))
    assert int(authority.stat().st_mtime) == int(before.st_mtime)
    assert authority.stat().st_mode == before.st_mode


def test_an_empty_node_becomes_the_site_with_k3s_in_the_version_of_the_backup(k3s: K3s, node_root: Path) -> None:
    before, identity = fingerprint(), cluster_id()
    digest = restore_node.send(7)
    artifacts = files(VERSION)
    restore_node.empty(node_root, k3s)
    plan = SitePlan("store-1", VERSION, artifacts, {})
    run(restore_source.find(7, digest), plan)
    assert objects() == ["a"]
    assert cluster_id() == identity
    own = {name: sha for name, sha in fingerprint().items() if not name.startswith("service/")}
    assert own == {name: sha for name, sha in before.items() if not name.startswith("service/")}
    assert Path(layout.K3S).resolve() == Path(layout.binary(VERSION))
    assert "node-name: store-1" in Path(layout.CONFIG).read_text()
    assert (k3s.active, k3s.enabled) == (True, True)
    told = marker.read() or {}
    assert (told["state"], told["version"], told["site"]) == ("installed", VERSION, "store-1")
    left = {path.name for path in Path(layout.CACHE_DIR).iterdir()}
    assert left == {each["digest"] for each in artifacts}, "what was sent of the backup is gone"


def test_a_node_that_was_bootstrapped_anew_becomes_the_old_cluster(k3s: K3s, node_root: Path) -> None:
    identity, digest = cluster_id(), restore_node.send(7)
    restore_node.empty(node_root, k3s)
    restore_node.install(k3s, token="K10two")
    assert cluster_id() != identity
    run(restore_source.find(7, digest))
    assert cluster_id() == identity
    assert (restore_node.server() / "token").read_text() == "K10one"
    assert (Path(layout.CONFIG_DIR).parent / "node/password").read_text() == "password of K10one"


@pytest.mark.parametrize(
    ("fault", "why"),
    [("crash", "crashed 3 times"), ("sick", "not Ready"), ("other", "another cluster than the one that was saved")],
)
def test_what_was_there_runs_again_where_the_backup_does_not_come_up(
    k3s: K3s, node_root: Path, fault: str, why: str
) -> None:
    k3s.of, digest = cluster_id(), restore_node.send(7)
    restore_node.empty(node_root, k3s)
    restore_node.install(k3s, token="K10two")
    add_object("mine")
    before, identity = fingerprint(), cluster_id()
    k3s.fault = fault
    with pytest.raises(EdgeError, match=why) as raised:
        run(restore_source.find(7, digest))
    assert raised.value.code == "E-RESTORE-BACK"
    assert (fingerprint(), cluster_id(), objects()) == (before, identity, ["mine"])
    assert (k3s.active, k3s.enabled) == (True, True)
    assert (marker.read() or {})["state"] == "installed"


def test_an_empty_node_is_empty_again_where_the_backup_does_not_come_up(k3s: K3s, node_root: Path) -> None:
    k3s.of, digest = cluster_id(), restore_node.send(7)
    artifacts = files(VERSION)
    restore_node.empty(node_root, k3s)
    k3s.fault = "sick"
    with pytest.raises(EdgeError, match="was taken out again") as raised:
        run(restore_source.find(7, digest), SitePlan("store-1", VERSION, artifacts, {}))
    assert raised.value.code == "E-RESTORE-FAILED"
    assert not (restore_node.server() / "db").exists()
    assert not (restore_node.server() / "token").exists()
    assert (k3s.active, k3s.enabled) == (False, False)
    k3s.fault = ""
    run(restore_source.find(7, digest), SitePlan("store-1", VERSION, artifacts, {}), attempt=21)
    assert objects() == ["a"], "the next attempt finds what it needs"


def test_neither_state_that_comes_up_needs_hands(k3s: K3s, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(_verb: str, _timeout_s: float) -> None:
        raise EdgeError("E-K3S-CRASH", "the disk is gone", "")

    monkeypatch.setattr(restore_course.service, "start", crash)
    with pytest.raises(EdgeError, match="the disk is gone") as raised:
        run(found(7))
    assert (raised.value.code, raised.value.retry) == ("E-RESTORE-HANDS", "never")


@pytest.mark.parametrize("part", ["state.db", "files.tar"])
def test_a_damaged_backup_is_found_while_k3s_still_runs(k3s: K3s, part: str) -> None:
    path = Path(backup_place.path(7)) / part
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)
    before = fingerprint()
    k3s.verbs.clear()
    with pytest.raises(EdgeError, match="another sha256") as raised:
        run(found(7))
    assert raised.value.code == "E-BACKUP-DAMAGED"
    assert (k3s.verbs, k3s.active, objects(), fingerprint()) == ([], True, ["a", "b"], before)


def test_a_repeat_whose_answer_was_lost_does_not_restore_twice(k3s: K3s) -> None:
    run(found(7))
    add_object("c")
    run(found(7), attempt=21)
    assert objects() == ["a", "c"]


def killing(monkeypatch: pytest.MonkeyPatch, at: int) -> Callable[[], int]:
    """Kill at the so-many-th change of a name or of the service; tells how many there were."""
    count = 0

    def counted(action: Callable[..., Any]) -> Callable[..., Any]:
        def act(*arguments: Any, **more: Any) -> Any:
            nonlocal count
            count += 1
            if count == at:
                raise Killed
            return action(*arguments, **more)

        return act

    for where, name in ((os, "rename"), (restore_course.service, "systemctl"), (restore_course.service, "start")):
        monkeypatch.setattr(where, name, counted(getattr(where, name)))
    return lambda: count


@pytest.mark.parametrize("is_other", [False, True], ids=["the same restore again", "another restore"])
def test_a_restore_that_is_killed_anywhere_is_finished_by_the_next(
    k3s: K3s, node_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_other: bool
) -> None:
    shutil.copytree(node_root, tmp_path / "before", symlinks=True)
    at, kills = 0, 0
    while at == kills:
        at += 1
        shutil.rmtree(node_root)
        shutil.copytree(tmp_path / "before", node_root, symlinks=True)
        k3s.active = k3s.enabled = True
        with monkeypatch.context() as patch:
            killing(patch, at)
            try:
                run(found(7))
            except Killed:
                kills += 1
        run(found(7), attempt=21, number=21 if is_other else 20)
        assert objects() == ["a"]
        assert (k3s.active, k3s.enabled) == (True, True)
        kept = objects(restore_node.server() / ".db.edgemgr-before-restore")
        if at == kills or not is_other:  # a second restore keeps what the first one made
            assert kept == ["a", "b"], f"killed at {at}"
    assert kills > 20


def test_etcd_is_made_anew_from_its_snapshot_by_k3s(k3s: K3s, node_root: Path, tmp_path: Path) -> None:
    source = found(7)
    program = Path(layout.binary(VERSION))
    program.write_text(
        f'#!/bin/sh\necho "$@" >{tmp_path}/said\n[ -z "$(ls -A {restore_node.server()}/db)" ] || exit 3\n'
        f'mkdir -p {restore_node.server()}/db/etcd && cp "${{3#*=}}" {restore_node.server()}/db/etcd/db\n'
    )
    program.chmod(0o755)
    etcd = restore_source.Source(
        source.digest,
        {**source.manifest, "datastore": "etcd"},
        {**source.paths, "etcd.snapshot": source.paths["state.db"]},
        is_sent=False,
    )
    run(etcd)
    assert (tmp_path / "said").read_text().split() == [
        "server",
        "--cluster-reset",
        f"--cluster-reset-restore-path={source.paths['state.db']}",
    ]
    assert (restore_node.server() / "db/etcd/db").read_bytes() == Path(source.paths["state.db"]).read_bytes()


def test_a_name_that_leads_out_of_its_place_is_refused(k3s: K3s, tmp_path: Path) -> None:
    source = found(7)
    with tarfile.open(tmp_path / "files.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("config/../../../etc/evil"), io.BytesIO())
    source.files = str(tmp_path / "files.tar")
    with pytest.raises(EdgeError, match="it holds a file named"):
        restore_files.lay_out(source)


def test_a_file_behind_a_link_is_refused(k3s: K3s, tmp_path: Path) -> None:
    source = found(7)
    outside = tmp_path / "outside"
    outside.mkdir()
    with tarfile.open(tmp_path / "files.tar", "w") as archive:
        for name, kind in (("config", tarfile.DIRTYPE), ("config/out", tarfile.SYMTYPE), ("config/out/evil", b"0")):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, str(outside) if kind == tarfile.SYMTYPE else ""
            archive.addfile(member, io.BytesIO())
    source.files = str(tmp_path / "files.tar")
    with pytest.raises(EdgeError, match="lies behind a link"):
        restore_files.lay_out(source)
    assert list(outside.iterdir()) == []


def check(params: dict[str, Any], artifacts: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setattr(preflight, "check_bootstrap", lambda *_: [])
    asked = {"site": "store-1", "version": VERSION, "min_free_mib": 0, **params}
    checks = restore_checks.check_restore(asked, found(7), artifacts, [])
    return {each.code: each.detail for each in checks if each.code}


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({}, ""),
        ({"site": "store-2"}, "E-RESTORE-SITE"),
        ({"version": OTHER}, "E-RESTORE-VERSION"),
        ({"min_free_mib": 1 << 40}, "E-RESTORE-ROOM"),
    ],
)
def test_what_cannot_be_restored_is_refused_before_anything_is_touched(
    k3s: K3s, monkeypatch: pytest.MonkeyPatch, params: dict[str, Any], code: str
) -> None:
    assert set(check(params, [], monkeypatch)) == ({code} if code else set())


def test_a_place_that_is_a_link_is_refused(k3s: K3s, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (restore_node.server() / "db").rename(tmp_path / "disk")
    (restore_node.server() / "db").symlink_to(tmp_path / "disk")
    assert set(check({}, [], monkeypatch)) == {"E-RESTORE-PLACE"}


def test_a_backup_that_is_neither_kept_nor_sent_is_asked_for(k3s: K3s) -> None:
    with pytest.raises(EdgeError) as raised:
        restore_source.find(8, "0" * 64)
    assert raised.value.code == "E-RESTORE-MISSING"


def test_a_part_that_came_in_part_is_asked_for_again(k3s: K3s) -> None:
    digest = restore_node.send(7)
    sha256 = json.loads(Path(layout.cached(digest)).read_text())["parts"][0]["sha256"]
    Path(layout.cached(sha256)).write_bytes(b"short")
    with pytest.raises(EdgeError) as raised:
        restore_source.find(7, digest)
    assert raised.value.code == "E-RESTORE-MISSING"


def test_the_record_of_a_restore_holds_no_secret(k3s: K3s) -> None:
    run(found(7))
    text = Path(restore_places.record_path()).read_text()
    assert "K10one" not in text
    assert Path(restore_places.record_path()).stat().st_mode & 0o777 == 0o600


def test_what_a_restore_left_half_way_is_neither_backed_up_nor_bootstrapped(
    k3s: K3s, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        killing(patch, 12)
        with pytest.raises(Killed):
            run(found(7))
    assert restore_places.is_unfinished()
    with pytest.raises(EdgeError) as raised:
        restore_node.backup(9)
    assert raised.value.code == "E-RESTORE-UNFINISHED"
    assert preflight.check_restore().code == "E-RESTORE-UNFINISHED"
    run(found(7), attempt=21)
    assert preflight.check_restore().verdict == "pass"


def test_a_restore_after_one_that_was_cut_off_goes_back_to_what_was_there_before_both(
    k3s: K3s, node_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    k3s.of, digest = cluster_id(), restore_node.send(7)
    restore_node.empty(node_root, k3s)
    restore_node.install(k3s, token="K10two")
    identity = cluster_id()
    with monkeypatch.context() as patch:
        killing(patch, 12)
        with pytest.raises(Killed):
            run(restore_source.find(7, digest))
    assert (k3s.active, k3s.enabled) == (False, False)
    k3s.fault = "sick"
    with pytest.raises(EdgeError) as raised:
        run(restore_source.find(7, digest), attempt=21, number=21)
    assert raised.value.code == "E-RESTORE-BACK"
    assert (cluster_id(), k3s.active, k3s.enabled) == (identity, True, True)
