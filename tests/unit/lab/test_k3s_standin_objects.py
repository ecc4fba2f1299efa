from __future__ import annotations

import gzip
import io
import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from edgemgr.lab.k3s_standin.node.bootstrap import opened, sealed
from edgemgr.lab.k3s_standin.node.datastore import ConflictError, Datastore
from edgemgr.lab.k3s_standin.node.images import ImportFailedError, full_name, read_archive
from edgemgr.lab.k3s_standin.node.journal import FatalError
from edgemgr.lab.k3s_standin.node.kinds import PODS, by_word
from edgemgr.lab.k3s_standin.node.kubectl_print import duration_s
from edgemgr.lab.k3s_standin.node.patches import PatchError, patched
from edgemgr.lab.k3s_standin.node.selectors import SelectorError, fields_match, labels_match


@pytest.fixture
def store(tmp_path: Path) -> Datastore:
    return Datastore(tmp_path / "state.db")


def named(name: str, **more: object) -> dict:
    return {"metadata": {"name": name}, **more}


def test_objects_survive_a_new_start_and_the_newest_counts(store: Datastore, tmp_path: Path):
    store.put("/registry/pods/a/x", named("x", spec=1))
    store.put("/registry/pods/a/x", named("x", spec=2))
    store.put("/registry/pods/a/y", named("y"))
    store.delete("/registry/pods/a/y")
    again = Datastore(tmp_path / "state.db")
    assert [value["spec"] for value in again.under("/registry/pods/")] == [2]


def test_a_write_that_changes_nothing_adds_no_revision(store: Datastore):
    first = store.put("/x", named("x"))
    assert store.put("/x", first)["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert store.writes == 1


def test_a_write_onto_a_changed_object_is_a_conflict(store: Datastore):
    old = store.put("/x", named("x"))["metadata"]["resourceVersion"]
    store.put("/x", named("x", spec=1), expected=old)
    with pytest.raises(ConflictError):
        store.put("/x", named("x", spec=2), expected=old)


def test_a_name_can_be_used_again_after_it_was_deleted(store: Datastore):
    for number in range(3):
        store.put("/x", named("x", spec=number))
        store.delete("/x")
    assert store.get("/x") is None


def test_compaction_keeps_what_is_current(store: Datastore, tmp_path: Path):
    store.put("/kept", named("kept"))
    for number in range(1200):
        store.put("/x", named("x", spec=number))
    store.compact()
    again = Datastore(tmp_path / "state.db")
    assert (again.get("/x") or {})["spec"] == 1199
    assert again.get("/kept")
    (rows,) = again._db.execute("SELECT count(*) FROM kine").fetchone()
    assert rows <= 1002


def test_a_damaged_file_ends_the_start(tmp_path: Path):
    (tmp_path / "state.db").write_bytes(b"not a database, but long enough to be taken for one" * 100)
    with pytest.raises(FatalError, match="not a database"):
        Datastore(tmp_path / "state.db")


def test_sealed_data_opens_with_its_own_token_only():
    box = sealed({"server-ca.key": "secret"}, "token")
    assert opened(box, "token") == {"server-ca.key": "secret"}
    assert "secret" not in json.dumps(box)
    with pytest.raises(FatalError, match="wrong token"):
        opened(box, "other")


CONTAINERS = {"spec": {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]}}


def test_a_strategic_merge_changes_the_named_container_and_a_json_merge_the_list():
    patch = {"spec": {"containers": [{"name": "b", "image": "2"}]}}
    strategic = patched(CONTAINERS, patch, "application/strategic-merge-patch+json")
    assert [c["image"] for c in strategic["spec"]["containers"]] == ["1", "2"]
    assert patched(CONTAINERS, patch, "application/merge-patch+json") == patch


def test_a_json_patch_adds_replaces_removes_and_tests():
    steps = [
        {"op": "test", "path": "/spec/containers/0/name", "value": "a"},
        {"op": "replace", "path": "/spec/containers/0/image", "value": "3"},
        {"op": "add", "path": "/spec/containers/-", "value": {"name": "c"}},
        {"op": "remove", "path": "/spec/containers/1"},
        {"op": "add", "path": "/metadata", "value": {"labels": {"x/y": "z"}}},
        {"op": "remove", "path": "/metadata/labels/x~1y"},
    ]
    result = patched(CONTAINERS, steps, "application/json-patch+json")
    assert result == {
        "spec": {"containers": [{"name": "a", "image": "3"}, {"name": "c"}]},
        "metadata": {"labels": {}},
    }
    assert CONTAINERS["spec"]["containers"][0]["image"] == "1"


@pytest.mark.parametrize(
    "step",
    [
        {"op": "remove", "path": "/nothing"},
        {"op": "replace", "path": "/spec/containers/7/image", "value": ""},
        {"op": "test", "path": "/spec/containers/0/name", "value": "z"},
    ],
)
def test_a_json_patch_that_does_not_fit_is_refused(step: dict):
    with pytest.raises(PatchError):
        patched(CONTAINERS, [step], "application/json-patch+json")


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ("", True),
        ("app=till", True),
        ("app==till,tier!=web", True),
        ("app!=till", False),
        ("app in (till, desk)", True),
        ("app notin (till,desk)", False),
        ("app", True),
        ("!app", False),
        ("!other", True),
    ],
)
def test_label_selectors(selector: str, matches: bool):
    assert labels_match(selector, {"app": "till"}) is matches


def test_selectors_that_cannot_be_read_are_refused():
    with pytest.raises(SelectorError):
        labels_match("a >< b", {})
    with pytest.raises(SelectorError):
        fields_match("metadata.name", {})


def test_field_selectors_look_into_objects():
    pod = {"metadata": {"name": "x"}, "status": {"phase": "Running"}}
    assert fields_match("status.phase=Running,metadata.name=x", pod)
    assert not fields_match("status.phase!=Running", pod)
    assert not fields_match("spec.nodeName=a", pod)


def test_kinds_are_known_by_all_their_names():
    assert {by_word(word) for word in ("po", "pod", "pods", "Pod")} == {PODS}
    assert by_word("deployments.apps") is by_word("deploy")
    assert by_word("unicorns") is None


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("rancher/pause:3.1", "docker.io/rancher/pause:3.1"),
        ("registry.test:5000/a/b", "registry.test:5000/a/b:latest"),
        ("quay.io/a/b:1", "quay.io/a/b:1"),
    ],
)
def test_image_names_are_completed_as_containerd_does(name: str, full: str):
    assert full_name(name) == full


def archive(files: dict[str, object]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


DOCKER = {"l/layer.tar": b"\0" * 9000, "c.json": {}, "manifest.json": [{"Config": "c.json", "RepoTags": ["a/b:1"]}]}


def test_docker_and_oci_archives_are_read_in_every_packing(tmp_path: Path):
    oci = {"index.json": {"manifests": [{"digest": "sha256:1", "annotations": {"io.containerd.image.name": "a/c:2"}}]}}
    plain = tmp_path / "x.tar"
    plain.write_bytes(archive(oci))
    assert set(read_archive(plain)) == {"docker.io/a/c:2"}
    plain.write_bytes(archive(DOCKER))
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(plain.read_bytes()))
    subprocess.run(["zstd", "-q", str(plain), "-o", str(tmp_path / "x.tar.zst")], check=True, timeout=20)
    for path in tmp_path.iterdir():
        assert set(read_archive(path)) == {"docker.io/a/b:1"}


@pytest.mark.parametrize("end", [".tar", ".tar.gz", ".tar.zst"])
def test_half_an_archive_imports_nothing(tmp_path: Path, end: str):
    plain = tmp_path / "whole.tar"
    plain.write_bytes(archive({"manifest.json": DOCKER["manifest.json"], "l/layer.tar": bytes(range(256)) * 400}))
    path = tmp_path / f"half{end}"
    if end == ".tar.zst":
        subprocess.run(["zstd", "-q", str(plain), "-o", str(path)], check=True, timeout=20)
    else:
        path.write_bytes(gzip.compress(plain.read_bytes()) if end == ".tar.gz" else plain.read_bytes())
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ImportFailedError):
        read_archive(path)


def test_images_of_another_architecture_are_refused(tmp_path: Path):
    path = tmp_path / "x.tar"
    path.write_bytes(archive({**DOCKER, "c.json": {"architecture": "mips"}}))
    with pytest.raises(ImportFailedError, match="no match for platform"):
        read_archive(path)


def test_durations_are_read_as_kubectl_reads_them():
    assert duration_s("1m30s") == 90
