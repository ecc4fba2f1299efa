"""Converging a node: idempotent, and may be killed at any step."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.edgemgr.edge.plugins.module_utils import artifacts, fence, layout, marker, service
from ansible_collections.edgemgr.edge.plugins.module_utils import converge as converging
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import EdgeError
from ansible_collections.edgemgr.edge.plugins.module_utils.site_plan import SitePlan
from ansible_collections.edgemgr.edge.plugins.module_utils.steps import Steps

from edgemgr.links import stick_stage

VERSION = "v1.33.5+k3s1"


class Killed(BaseException):
    """What SIGKILL looks like from inside."""


class FakeSystemd:
    """A service manager that starts whatever /usr/local/bin/k3s points at."""

    def __init__(self) -> None:
        self.active = "inactive"
        self.enabled = ""
        self.verbs: list[str] = []

    def state(self) -> dict[str, str]:
        return {
            "LoadState": "loaded",
            "ActiveState": self.active,
            "SubState": "running" if self.active == "active" else "dead",
            "UnitFileState": self.enabled,
            "MainPID": "1",
            "NRestarts": "0",
            "NeedDaemonReload": "no",
        }

    def systemctl(self, *arguments: str) -> str:
        if arguments[0] == "enable":
            self.enabled = "enabled"
        return ""

    def start(self, verb: str, timeout_s: float) -> None:
        self.verbs.append(verb)
        self.active = "active"


class FakeApi:
    """Answers with the version that the link points at."""

    def read(self, path: str) -> dict[str, str]:
        assert path == "/version"
        return {"gitVersion": Path(layout.K3S).readlink().parent.name}


@pytest.fixture
def systemd(node_root: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSystemd:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # hundreds of them; what they are for cannot be seen here
    fake = FakeSystemd()
    for name in ("state", "systemctl", "start"):
        monkeypatch.setattr(service, name, getattr(fake, name))
    monkeypatch.setattr(converging, "KubeApi", FakeApi)
    return fake


def artifact(part: str, name: str, content: bytes) -> dict[str, Any]:
    """A file that lies in the node's content store."""
    digest = hashlib.sha256(content).hexdigest()
    path = Path(layout.cached(digest))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return {"part": part, "arch": "amd64", "name": name, "digest": digest, "size_bytes": len(content)}


def converge(
    version: str = VERSION, *, check: bool = False, attempt: int = 1, order_key: str = "", **config: object
) -> dict[str, Any]:
    files = [
        artifact("binary", "k3s", b"binary of " + version.encode()),
        artifact("images", "k3s-airgap-images-amd64.tar.zst", b"images of " + version.encode()),
    ]
    params = {"attempt": attempt, "site": "store-1", "version": version, "start_timeout_s": 0, "order_key": order_key}
    plan = SitePlan("store-1", version, artifacts.for_arch(files, "amd64"), config)
    steps = Steps()
    if check:
        converging.foresee(plan, params, steps)
    else:
        with fence.hold(attempt, 0):
            converging.converge(plan, params, steps)
    return steps.results()


def tree(root: Path) -> dict[str, object]:
    """Everything on the node: path → content or link, and permissions; the marker without its time."""
    found: dict[str, object] = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = "-> " + str(path.readlink())
        elif path.name == "installed.json":
            found[name] = {**json.loads(path.read_text()), "changed_at": ""}
        elif path.is_file():
            found[name] = (path.read_bytes(), path.stat().st_mode & 0o777)
    return found


def test_an_empty_node_is_brought_up(systemd: FakeSystemd, node_root: Path) -> None:
    result = converge()
    assert result["changed"] is True
    assert result["edge_changes"][-1] == "start k3s"
    assert Path(layout.K3S).read_bytes() == b"binary of v1.33.5+k3s1"
    assert os.access(layout.K3S, os.X_OK)
    (archive,) = Path(layout.IMAGES_DIR).iterdir()
    assert archive.name.startswith("edgemgr-")
    assert archive.name.endswith(".tar.zst")
    assert Path(layout.CONFIG).stat().st_mode & 0o777 == 0o600
    assert [str((Path(layout.LINK_DIR) / tool).readlink()) for tool in layout.TOOLS] == ["k3s"] * 3
    installed = marker.read()
    assert installed is not None
    assert installed["state"] == "installed"


def test_a_second_run_changes_nothing_and_restarts_nothing(systemd: FakeSystemd, node_root: Path) -> None:
    converge()
    before = tree(node_root)
    result = converge(attempt=1)
    assert (result["changed"], result["edge_changes"]) == (False, [])
    assert tree(node_root) == before
    assert systemd.verbs == ["start"]


def test_check_mode_tells_the_changes_and_makes_none(systemd: FakeSystemd, node_root: Path) -> None:
    converge()
    before = tree(node_root)
    result = converge(check=True, attempt=2, disable=["traefik"])
    assert result["edge_changes"] == [f"place {layout.CONFIG}", "restart k3s"]
    assert "disable:" not in result["diff"][0]["before"]
    assert 'disable:\n  - "traefik"' in result["diff"][0]["after"]
    assert tree(node_root) == before
    assert converge(attempt=2, disable=["traefik"])["edge_changes"] == result["edge_changes"]


def test_a_file_changed_by_hand_is_put_right_and_k3s_restarted(systemd: FakeSystemd, node_root: Path) -> None:
    converge()
    Path(layout.CONFIG).write_text("node-name: other\n")
    result = converge()
    assert result["edge_changes"] == [f"place {layout.CONFIG}", "restart k3s"]


def test_a_stopped_k3s_is_started_without_placing_anything(systemd: FakeSystemd, node_root: Path) -> None:
    converge()
    systemd.active = "failed"
    assert converge()["edge_changes"] == ["start k3s"]


def test_a_damaged_binary_in_place_is_replaced(systemd: FakeSystemd, node_root: Path) -> None:
    converge()
    program = Path(layout.binary(VERSION))
    program.unlink()
    program.write_bytes(b"binary of v1.33.5+k3sX")
    program.chmod(0o755)
    assert f"place {program}" in converge()["edge_changes"]
    assert program.read_bytes() == b"binary of v1.33.5+k3s1"


def test_a_file_that_changed_in_the_store_is_thrown_away_and_nothing_is_placed(
    systemd: FakeSystemd, node_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = artifact("binary", "k3s", b"binary of v1.33.5+k3s1")
    original = artifact

    def damaged(part: str, name: str, content: bytes) -> dict[str, Any]:
        made = original(part, name, content)
        if part == "binary":
            Path(layout.cached(made["digest"])).write_bytes(b"x" * made["size_bytes"])
        return made

    monkeypatch.setitem(globals(), "artifact", damaged)
    with pytest.raises(EdgeError) as caught:
        converge()
    assert caught.value.code == "E-ARTIFACT-HASH"
    assert not Path(layout.cached(found["digest"])).exists()
    assert not Path(layout.binary(VERSION)).exists()
    assert systemd.verbs == []


def test_a_program_of_somebody_else_keeps_its_name(systemd: FakeSystemd, node_root: Path) -> None:
    theirs = Path(layout.LINK_DIR) / "kubectl"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("theirs")
    converge()
    assert theirs.read_text() == "theirs"
    assert str((Path(layout.LINK_DIR) / "ctr").readlink()) == "k3s"


def test_archives_of_another_version_go_only_after_the_new_one_runs(
    systemd: FakeSystemd, node_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = Path(layout.IMAGES_DIR)
    images.mkdir(parents=True)
    for name in ("edgemgr-000000000000.tar.gz", "theirs.tar"):
        (images / name).write_text("old")
    started_with: list[list[str]] = []
    systemd_start = systemd.start

    def start(verb: str, timeout_s: float) -> None:
        started_with.append(sorted(path.name for path in images.iterdir()))
        systemd_start(verb, timeout_s)

    monkeypatch.setattr(service, "start", start)
    converge()
    assert "edgemgr-000000000000.tar.gz" in started_with[0]
    assert sorted(path.name.partition("-")[0] for path in images.iterdir()) == ["edgemgr", "theirs.tar"]


def test_what_lay_in_the_configuration_directory_before_is_noted(systemd: FakeSystemd, node_root: Path) -> None:
    Path(layout.CONFIG_DIR).mkdir(parents=True)
    (Path(layout.CONFIG_DIR) / "registries.yaml").write_text("mirrors: {}\n")
    converge()
    converge(attempt=2, debug=True)
    installed = marker.read()
    assert installed is not None
    assert installed["found"] == ["registries.yaml"]


@pytest.mark.parametrize("version", ["../../../etc", "v1.33.5", "v1.33.5+k3s1/x"])
def test_a_version_never_becomes_another_path(systemd: FakeSystemd, node_root: Path, version: str) -> None:
    with pytest.raises(EdgeError) as caught:
        converge(version)
    assert caught.value.code == "E-PRE-VERSION"


@pytest.mark.parametrize(("field", "value"), [("digest", "../" * 21 + "x"), ("name", "k3s-airgap-images-a.tar/../x")])
def test_a_file_s_name_never_becomes_another_path(
    systemd: FakeSystemd, node_root: Path, field: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = artifact
    monkeypatch.setitem(globals(), "artifact", lambda *arguments: {**original(*arguments), field: value})
    with pytest.raises(EdgeError) as caught:
        converge()
    assert caught.value.code == "E-ARTIFACT-NAME"


def kill_at(step: int, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Let the process die at its n-th change of the file system; returns how many there were."""
    done = 0

    def counted(real: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: Any, **more: Any) -> None:
            nonlocal done
            done += 1
            if done == step:
                raise Killed
            real(*arguments, **more)

        return call

    for name in ("rename", "link", "symlink", "mkdir", "unlink", "chmod", "fsync"):
        monkeypatch.setattr(os, name, counted(getattr(os, name)))
    return lambda: done


def test_killed_at_any_step_and_run_again_it_ends_as_if_nothing_had_happened(
    systemd: FakeSystemd, node_root: Path, tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        count = kill_at(0, patch)
        converge()
    steps, wanted = count(), tree(node_root)
    assert steps > 50
    for step in range(1, steps + 1):
        node_root.rename(tmp_path / f"done-{step}")
        node_root.mkdir()
        systemd.__init__()  # type: ignore[misc]
        with pytest.MonkeyPatch.context() as patch:
            kill_at(step, patch)
            with pytest.raises(Killed):
                converge()
        converge()
        leftovers = {name: content for name, content in tree(node_root).items() if name not in wanted}
        assert {name: tree(node_root).get(name) for name in wanted} == wanted, f"killed at step {step}"
        assert not [name for name in leftovers if "edgemgr-images.new" not in name and "edgemgr-new" not in name], step
        assert systemd.active == "active"


def test_killed_after_the_files_and_before_the_restart_the_next_run_restarts(
    systemd: FakeSystemd, node_root: Path
) -> None:
    converge()

    def die(verb: str, timeout_s: float) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service, "start", die)
        with pytest.raises(Killed):
            converge(attempt=2, debug=True)
    assert converge(attempt=2, debug=True)["edge_changes"] == ["restart k3s"]


def test_the_key_for_work_orders_is_put_there_once_and_k3s_goes_on_running(
    systemd: FakeSystemd, node_root: Path
) -> None:
    converge()
    path = Path(layout.ORDER_KEYS)
    assert not path.exists()
    assert converge(check=True, order_key="ssh-ed25519 AAAA one")["edge_changes"] == [f"place {path}"]
    assert not path.exists()
    assert converge(order_key="ssh-ed25519 AAAA one")["edge_changes"] == [f"place {path}"]
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("ssh-ed25519 AAAA one\n", 0o600)
    assert converge(order_key="ssh-ed25519 AAAA one")["changed"] is False
    assert converge(order_key="ssh-ed25519 BBBB two")["edge_changes"] == [f"place {path}"]
    assert path.read_text() == "ssh-ed25519 BBBB two\n"
    assert converge()["changed"] is False
    assert path.read_text() == "ssh-ed25519 BBBB two\n"
    assert systemd.verbs == ["start"]


def test_the_script_of_a_stick_finds_things_where_the_collection_puts_them() -> None:
    root = Path("/")
    assert str(root / stick_stage.STATE) == layout.STATE_DIR
    assert str(root / stick_stage.STATE / stick_stage.CACHE) == layout.CACHE_DIR
    assert str(root / stick_stage.STATE / stick_stage.RECORD) == layout.FENCE_RECORD
    assert str(root / stick_stage.LOCK) == layout.LOCK
    assert str(root / stick_stage.STATE / stick_stage.PINNED_KEYS) == layout.ORDER_KEYS
    assert str(root / stick_stage.STATE / stick_stage.NEWEST_ORDER) == layout.NEWEST_ORDER
    assert str(root / stick_stage.STATE / stick_stage.RECEIPTS_DIRECTORY) == layout.RECEIPTS_DIR
