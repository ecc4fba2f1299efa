"""From a recipe to payload: names, what is shared, what is refused, and the same bytes every time."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests_support.chart_archive import chart
from tests_support.image_archives import Picture, docker_files, layer_bytes, oci_files, sha256, tar, write_files

from edgemgr.bundles.create import K3sFiles, Prepared, prepare
from edgemgr.bundles.names import target_name_fault
from edgemgr.bundles.recipe import read_recipe
from edgemgr.errors import BundleError
from edgemgr.model.content import Place, TargetKind
from edgemgr.model.release import Arch

AT = datetime(2026, 11, 1, 8, tzinfo=UTC)
V33, V34 = "v1.33.5+k3s1", "v1.34.6+k3s1"
BASE, TOP, NEXT = layer_bytes("base", 90_000), layer_bytes("top"), layer_bytes("next")


def wheel() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("edgemgr/__init__.py", "")
    return buffer.getvalue()


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    old = [Picture(("rancher/a:1",), (BASE, TOP)), Picture(("rancher/b:1",), (BASE,))]
    new = [Picture(("rancher/a:2",), (BASE, NEXT)), Picture(("rancher/b:1",), (BASE,))]
    files = {
        "33.tar": tar(docker_files(old)),
        "34.tar": tar(docker_files(new)),
        "k3s-33": b"\x7fELF33" + bytes(9 << 20),
        "k3s-34": b"\x7fELF34",
        "till.tar": tar(docker_files([Picture(("shop.example.com/till:9",), (BASE,))])),
        "till-4.2.0.tgz": chart(),
        "spaces.yaml": b"apiVersion: v1\nkind: Namespace\n---\n",
        "monitoring.tar": tar({"pack.yaml": b"x"}),
        "edge-0.2.0.tar.gz": chart("edge"),
        "edgemgr-0.2.0-py3-none-any.whl": wheel(),
        "november.md": b"# November\n",
    }
    write_files(tmp_path / "in", files)
    write_files(tmp_path / "in/scale", oci_files([Picture(("shop.example.com/scale:3",), (TOP,), "arm64")]))
    return tmp_path / "in"


WHOLE = f"""
product: store
number: 12
title: Store
from_versions: [v1.32]
valid_days: 10
contents:
  k3s: [{{version: {V33}, archs: [amd64]}}, {{version: {V34}, archs: [amd64]}}]
  images: [{{archive: till.tar, arch: amd64}}, {{layout: scale, arch: arm64}}]
  charts: [till-4.2.0.tgz]
  manifests: [spaces.yaml]
  packs: [{{name: monitoring, version: 1.4.0, file: monitoring.tar}}]
  playbooks: [edge-0.2.0.tar.gz]
  wheels: [.]
  notes: [november.md]
"""


def made(inputs: Path, work: Path, text: str = WHOLE) -> Prepared:
    (inputs / "bundle.yaml").write_text(text)
    work.mkdir()
    k3s = [
        K3sFiles(V33, Arch.AMD64, inputs / "k3s-33", inputs / "33.tar"),
        K3sFiles(V34, Arch.AMD64, inputs / "k3s-34", inputs / "34.tar"),
    ]
    return prepare(read_recipe(inputs / "bundle.yaml"), k3s, work=work, created_at=AT)


def test_everything_has_its_place_and_its_name(inputs: Path, tmp_path: Path) -> None:
    prepared = made(inputs, tmp_path / "work")
    names = {item.name: item for item in prepared.payload}
    assert {name for name in names if not name.startswith("oci/")} == {
        f"k3s/{V33}/amd64/k3s",
        f"k3s/{V34}/amd64/k3s",
        f"images/k3s-{V33}/amd64/1.json",
        f"images/k3s-{V33}/amd64/2.json",
        f"images/k3s-{V34}/amd64/1.json",
        f"images/k3s-{V34}/amd64/2.json",
        "images/extra/amd64/1.json",
        "images/extra/arm64/1.json",
        "charts/till-4.2.0.tgz",
        "manifests/spaces.yaml",
        "packs/monitoring/1.4.0.tar",
        "playbooks/edge-0.2.0.tar.gz",
        "wheels/edgemgr-0.2.0-py3-none-any.whl",
        "notes/november.md",
        "sbom/store-stable-12.cdx.json",
    }
    assert {name: target_name_fault(name, item.digest, item.custom) for name, item in names.items()} == dict.fromkeys(
        names, ""
    )
    assert names[f"k3s/{V34}/amd64/k3s"].custom.requires_from == ("v1.33", "v1.34")
    assert names["images/extra/arm64/1.json"].custom.ref == "shop.example.com/scale:3"
    assert names["wheels/edgemgr-0.2.0-py3-none-any.whl"].custom.place is Place.APPLIANCE
    assert [item.name for item in prepared.payload] == sorted(names)


def test_every_path_holds_what_its_payload_says(inputs: Path, tmp_path: Path) -> None:
    for item in made(inputs, tmp_path / "work").payload:
        content = item.path.read_bytes()
        assert (sha256(content), len(content)) == (item.digest, item.size_bytes)


def test_large_files_have_the_digests_of_their_chunks(inputs: Path, tmp_path: Path) -> None:
    prepared = made(inputs, tmp_path / "work")
    chunked = [item for item in prepared.payload if item.custom.chunks]
    assert [item.name for item in chunked] == [f"k3s/{V33}/amd64/k3s"]
    content = (inputs / "k3s-33").read_bytes()
    assert chunked[0].custom.chunk_bytes == 4 << 20
    assert chunked[0].custom.chunks == tuple(sha256(content[at : at + (4 << 20)]) for at in range(0, 9 << 20, 4 << 20))


def test_a_layer_of_several_images_and_versions_is_one_blob(inputs: Path, tmp_path: Path) -> None:
    prepared = made(inputs, tmp_path / "work")
    layers = {item.digest: item for item in prepared.payload if item.custom.uncompressed_size is not None}
    assert {sha256(BASE), sha256(TOP), sha256(NEXT)} < set(layers)
    assert layers[sha256(BASE)].custom.uncompressed_size == len(BASE)
    assert [item.name for item in prepared.payload if item.digest == sha256(BASE)] == [f"oci/{sha256(BASE)}"]
    assert prepared.payload_bytes < (9 << 20) + 3 * len(BASE)


def test_the_record_says_what_the_recipe_says(inputs: Path, tmp_path: Path) -> None:
    prepared = made(inputs, tmp_path / "work")
    release = prepared.release
    assert (release.product, release.channel, release.number) == ("store", "stable", 12)
    assert release.k3s_versions == (V33, V34)
    assert release.archs == (Arch.AMD64, Arch.ARM64)
    assert release.from_versions == ("v1.32",)
    assert (release.created_at, prepared.expires_at) == (AT, AT + timedelta(days=10))
    amd64 = [i for i in prepared.payload if i.custom.arch is Arch.AMD64 or i.custom.kind is TargetKind.CHART]
    assert release.min_free_bytes > 2 * sum({i.digest: i.size_bytes for i in amd64}.values())


def test_the_bill_of_materials_lists_images_k3s_charts_wheels_and_packs(inputs: Path, tmp_path: Path) -> None:
    item = next(i for i in made(inputs, tmp_path / "work").payload if i.custom.kind is TargetKind.SBOM)
    listed = {(c["name"], c["version"]) for c in json.loads(item.path.read_bytes())["components"]}
    assert listed == {
        ("k3s", V33),
        ("k3s", V34),
        ("docker.io/rancher/a", "1"),
        ("docker.io/rancher/a", "2"),
        ("docker.io/rancher/b", "1"),
        ("shop.example.com/till", "9"),
        ("shop.example.com/scale", "3"),
        ("till", "4.2.0"),
        ("monitoring", "1.4.0"),
        ("edgemgr", "0.2.0"),
    }


def test_the_same_inputs_give_the_same_payload(inputs: Path, tmp_path: Path) -> None:
    first, second = (made(inputs, tmp_path / name) for name in ("one", "two"))
    assert [(i.name, i.digest, i.custom) for i in first.payload] == [
        (i.name, i.digest, i.custom) for i in second.payload
    ]
    assert first.release == second.release


@pytest.mark.parametrize(
    ("contents", "why"),
    [
        (f"k3s: [{{version: {V34}, archs: [arm64]}}]", f"k3s {V34} for arm64 is not in"),
        ("charts: [november.md]", "is no Helm chart"),
        ("charts: [33.tar]", "is no Helm chart"),
        ("manifests: [november.md]", "has a name that k3s does not take"),
        ("playbooks: [november.md]", "is no .tar.gz"),
        ("wheels: [november.md]", "has no name of a wheel"),
        ("wheels: [scale]", "holds no wheel"),
        ("notes: [k3s-33]", "is no text in UTF-8"),
        ("notes: [spaces.yaml]", "notes/spaces.yaml is no name for a notes"),
        ("notes: [missing.md]", "missing.md is not there"),
        ("images: [{layout: '.', arch: amd64}]", "is no OCI image layout"),
        ("images: [{archive: missing.tar, arch: amd64}]", "missing.tar cannot be read"),
        ("images: [{archive: 33.tar, arch: amd64, ref: 'a:1'}]", "`ref:` names one image, but there are several"),
        ("images: [{archive: 33.tar, arch: amd64}, {archive: c.tar, arch: amd64}]", "another content"),
    ],
)
def test_what_does_not_fit_is_refused(inputs: Path, tmp_path: Path, contents: str, why: str) -> None:
    (inputs / "k3s-33").write_bytes(b"\xff\xfe")
    (inputs / "c.tar").write_bytes(tar(docker_files([Picture(("rancher/b:1",), (TOP,))])))
    text = f"product: store\nnumber: 1\ntitle: Store\ncontents:\n  {contents}\n"
    with pytest.raises(BundleError) as caught:
        made(inputs, tmp_path / "work", text)
    assert why in caught.value.message
    assert caught.value.hint
