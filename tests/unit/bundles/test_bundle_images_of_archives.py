"""Images from archives and layouts: what is taken, what is shared, what is refused."""

from __future__ import annotations

import gzip
import json
import tarfile
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests_support.image_archives import (
    Picture,
    config_bytes,
    docker_files,
    layer_bytes,
    oci_files,
    sha256,
    tar,
    write_files,
)

from edgemgr.bundles import unpacking
from edgemgr.bundles.image_source import read_images
from edgemgr.bundles.images import Image, ImageBuilder, full_ref
from edgemgr.bundles.shelf import Shelf
from edgemgr.errors import BundleError
from edgemgr.model.release import Arch

BASE, TOP, OTHER = layer_bytes("base"), layer_bytes("top"), layer_bytes("other")
TWO = (Picture(("example.com/a:1",), (BASE, TOP)), Picture(("example.com/b:1",), (BASE, OTHER)))


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    (tmp_path / "shelf").mkdir()
    return Shelf(tmp_path / "shelf")


def images(shelf: Shelf, path: Path, arch: str = "amd64", ref: str | None = None) -> list[Image]:
    return read_images(path, Arch(arch), shelf, ImageBuilder(shelf), ref=ref)


def saved(tmp_path: Path, content: bytes, name: str = "images.tar") -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


def refusal(shelf: Shelf, path: Path, **more: str) -> BundleError:
    with pytest.raises(BundleError) as caught:
        images(shelf, path, **more)
    return caught.value


def test_layers_that_images_share_are_stored_once_and_as_they_are(shelf: Shelf, tmp_path: Path) -> None:
    first, second = images(shelf, saved(tmp_path, tar(docker_files(TWO))))
    assert [first.ref, second.ref] == ["example.com/a:1", "example.com/b:1"]
    assert first.layers[0] == second.layers[0]
    assert first.layers[0].blob.digest == sha256(BASE)
    assert first.layers[0].blob.path.read_bytes() == BASE
    assert first.layers[0].media_type == "application/vnd.oci.image.layer.v1.tar"
    stored = {path.name for path in (tmp_path / "shelf").iterdir()}
    assert {sha256(BASE), sha256(TOP), sha256(OTHER)} < stored
    assert not [name for name in stored if len(name) != 64]


def test_the_manifest_made_for_a_docker_archive_names_what_the_image_is_made_of(shelf: Shelf, tmp_path: Path) -> None:
    image = images(shelf, saved(tmp_path, tar(docker_files(TWO))))[0]
    document = json.loads(image.manifest.path.read_bytes())
    assert document["mediaType"] == image.manifest_type == "application/vnd.oci.image.manifest.v1+json"
    assert document["config"]["digest"] == f"sha256:{image.config.digest}"
    assert [layer["digest"] for layer in document["layers"]] == [f"sha256:{sha256(BASE)}", f"sha256:{sha256(TOP)}"]
    assert [layer["size"] for layer in document["layers"]] == [len(BASE), len(TOP)]


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("images.tar", lambda content: content),
        ("images.tar.gz", gzip.compress),
        ("images.tar.zst", zstandard.compress),
    ],
)
def test_every_packing_gives_the_same_images(shelf: Shelf, tmp_path: Path, name: str, pack: object) -> None:
    assert callable(pack)
    found = images(shelf, saved(tmp_path, pack(tar(docker_files(TWO))), name))
    plain = images(shelf, saved(tmp_path, tar(docker_files(TWO)), "plain.tar"))
    assert found == plain


def test_a_layer_that_is_a_link_to_an_earlier_one_is_found(shelf: Shelf, tmp_path: Path) -> None:
    files = docker_files([Picture(("example.com/a:1",), (BASE, TOP))])
    again = json.loads(files["manifest.json"])
    config = next(name for name in files if name.endswith(".json") and name != "manifest.json")
    again[0]["Layers"][0] = "linked/layer.tar"
    files = {config: files[config], **files, "manifest.json": json.dumps(again).encode()}
    content = tar(files, {"linked/layer.tar": f"../{sha256(BASE)}/layer.tar"})
    assert images(shelf, saved(tmp_path, content))[0].layers[0].blob.digest == sha256(BASE)


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_of_either_form_are_read(shelf: Shelf, tmp_path: Path, form: int) -> None:
    files = docker_files([Picture(("example.com/a:1",), (BASE,))])
    long = "d" * 90 + "/" + "e" * 120 + "/ü/layer.tar"
    manifest = json.loads(files["manifest.json"])
    manifest[0]["Layers"] = [long]
    content = tar({long: BASE, **files, "manifest.json": json.dumps(manifest).encode()}, form=form)
    assert images(shelf, saved(tmp_path, content))[0].layers[0].blob.digest == sha256(BASE)


def test_an_oci_manifest_keeps_its_digest_and_its_packed_layers(shelf: Shelf, tmp_path: Path) -> None:
    files = oci_files([Picture(("example.com/a:1",), (BASE,))])
    wanted = json.loads(files["index.json"])["manifests"][0]["digest"]
    image = images(shelf, saved(tmp_path, tar(files)))[0]
    assert f"sha256:{image.manifest.digest}" == wanted
    assert image.layers[0].blob.path.read_bytes() == gzip.compress(BASE, mtime=0)
    assert image.layers[0].media_type.endswith("+gzip")
    assert image.layers[0].uncompressed_bytes == len(BASE)


def test_a_layout_in_a_directory_gives_what_its_archive_gives(shelf: Shelf, tmp_path: Path) -> None:
    files = oci_files(TWO)
    lying = images(shelf, write_files(tmp_path / "layout", files))
    packed = images(shelf, saved(tmp_path, tar(files)))
    assert [i.manifest.digest for i in lying] == [i.manifest.digest for i in packed]
    assert lying[0].layers[0].blob.path.parent == tmp_path / "layout/blobs/sha256", "used where it lies"


def test_of_an_image_for_several_platforms_the_wanted_one_is_taken(shelf: Shelf, tmp_path: Path) -> None:
    pictures = [Picture(("example.com/a:1",), (BASE,)), Picture(("example.com/a:1",), (TOP,), "arm64")]
    path = saved(tmp_path, tar(oci_files(pictures, nested=True)))
    assert [image.layers[0].uncompressed_bytes for image in images(shelf, path, "arm64")] == [len(TOP)]
    assert images(shelf, path)[0].config.digest != images(shelf, path, "arm64")[0].config.digest
    assert "example.com/a:1 is not there for arm" in refusal(shelf, path, arch="arm").message


def test_an_image_that_is_there_for_another_architecture_only_is_not_left_out_silently(
    shelf: Shelf, tmp_path: Path
) -> None:
    pictures = [Picture(("example.com/a:1",), (BASE,)), Picture(("example.com/b:1",), (TOP,), "arm64")]
    path = saved(tmp_path, tar(oci_files(pictures)))
    assert "example.com/b:1 is not there for amd64" in refusal(shelf, path).message


def test_a_file_that_is_both_is_read_by_the_half_that_has_full_names(shelf: Shelf, tmp_path: Path) -> None:
    oci = oci_files([Picture(("example.com/a:1",), (BASE,))], packed=False)
    tag_only = oci["index.json"].replace(b"io.containerd.image.name", b"org.opencontainers.image.ref.name")
    tag_only = tag_only.replace(b"example.com/a:1", b"1")
    both = docker_files([Picture(("example.com/a:1",), (BASE,))]) | oci | {"index.json": tag_only}
    assert [image.ref for image in images(shelf, saved(tmp_path, tar(both)))] == ["example.com/a:1"]
    alone = oci | {"index.json": tag_only}
    assert "no full name" in refusal(shelf, saved(tmp_path, tar(alone), "alone.tar")).message
    assert images(shelf, tmp_path / "alone.tar", ref="shop/till")[0].ref == "docker.io/shop/till:latest"


def test_a_layer_that_its_configuration_does_not_name_is_refused(shelf: Shelf, tmp_path: Path) -> None:
    files = docker_files([Picture(("example.com/a:1",), (BASE,))])
    files[f"{sha256(BASE)}/layer.tar"] = TOP
    fault = refusal(shelf, saved(tmp_path, tar(files)))
    assert fault.code == "E-BUNDLE-IMAGE"
    assert f"sha256:{sha256(TOP)}, not sha256:{sha256(BASE)}" in fault.message


def test_a_packed_layer_is_unpacked_to_compare_it(shelf: Shelf, tmp_path: Path) -> None:
    files = oci_files([Picture(("example.com/a:1",), (BASE,))])
    config = config_bytes([TOP])
    manifest = {
        "schemaVersion": 2,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": f"sha256:{sha256(config)}",
            "size": len(config),
        },
        "layers": [{"digest": f"sha256:{sha256(gzip.compress(BASE, mtime=0))}"}],
    }
    content = json.dumps(manifest).encode()
    entry = {"digest": f"sha256:{sha256(content)}", "annotations": {"io.containerd.image.name": "example.com/a:1"}}
    files[f"blobs/sha256/{sha256(content)}"] = content
    files[f"blobs/sha256/{sha256(config)}"] = config
    files["index.json"] = json.dumps({"manifests": [entry]}).encode()
    assert "is not the one that its configuration names" in refusal(shelf, saved(tmp_path, tar(files))).message


def test_a_damaged_blob_of_a_layout_is_refused(shelf: Shelf, tmp_path: Path) -> None:
    directory = write_files(tmp_path / "layout", oci_files([Picture(("example.com/a:1",), (BASE,))]))
    blob = next(path for path in (directory / "blobs/sha256").iterdir() if path.read_bytes()[:2] == b"\x1f\x8b")
    blob.write_bytes(blob.read_bytes()[:-1] + b"x")
    assert "is damaged" in refusal(shelf, directory).message
    blob.unlink()
    blob.symlink_to("/etc/hostname")
    assert "which is not there" in refusal(shelf, directory).message, "no way out of the layout by a link"


def test_the_wrong_architecture_is_named(shelf: Shelf, tmp_path: Path) -> None:
    path = saved(tmp_path, tar(docker_files([Picture(("example.com/a:1",), (BASE,), "arm64")])))
    assert "example.com/a:1 is for arm64, not amd64" in refusal(shelf, path).message


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_an_archive_that_ends_early_is_refused(shelf: Shelf, tmp_path: Path, share: float) -> None:
    content = tar(docker_files(TWO))
    fault = refusal(shelf, saved(tmp_path, content[: int(len(content) * share) // 512 * 512 - 7]))
    assert (fault.code, "ends too early" in fault.message) == ("E-BUNDLE-ARCHIVE", True)


def test_an_archive_that_unpacks_without_end_is_refused(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (unpacking.MAX_RATIO, unpacking.FREE_BYTES, unpacking.MAX_WINDOW_BYTES) == (200, 64 << 20, 1 << 27)
    monkeypatch.setattr(unpacking, "FREE_BYTES", 1 << 20)
    bomb = tar({"layer.tar": bytes(40 << 20)})
    for name, packed in (("a.tar.zst", zstandard.compress(bomb)), ("a.tar.gz", gzip.compress(bomb, 9))):
        fault = refusal(shelf, saved(tmp_path, packed, name))
        assert "unpacks to more than 200 times its size" in fault.message
    kept = [path.name for path in (tmp_path / "shelf").iterdir()]
    assert kept == [], "what was unpacked so far is gone"


def test_a_zstd_window_that_costs_too_much_memory_is_refused(shelf: Shelf, tmp_path: Path) -> None:
    settings = zstandard.ZstdCompressionParameters.from_level(1, window_log=28)
    content = zstandard.ZstdCompressor(compression_params=settings).compressobj()
    packed = content.compress(tar(docker_files(TWO))) + content.flush()
    fault = refusal(shelf, saved(tmp_path, packed, "wide.tar.zst"))
    assert (fault.code, "cannot be unpacked" in fault.message) == ("E-BUNDLE-ARCHIVE", True)


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"readme": b"x"}, "holds no images"),
        ({"manifest.json": b"{}"}, "no list of images"),
        ({"manifest.json": b"[" * 100_000}, "is no JSON"),
        ({"manifest.json": b'[{"Config":"../../etc/shadow","RepoTags":["a"],"Layers":[]}]'}, "which is not there"),
        ({"manifest.json": b'[{"Config":"c","RepoTags":[1],"Layers":[]}]'}, "RepoTags is no list of names"),
        ({"oci-layout": b"{}", "index.json": b'{"manifests":[{"digest":"md5:1"}]}'}, "no full name"),
    ],
)
def test_documents_that_are_not_what_they_should_be_are_refused(
    shelf: Shelf, tmp_path: Path, files: dict[str, bytes], why: str
) -> None:
    assert why in refusal(shelf, saved(tmp_path, tar(files))).message


def test_links_that_lead_in_a_circle_lead_nowhere(shelf: Shelf, tmp_path: Path) -> None:
    files = {"manifest.json": b'[{"Config":"a","RepoTags":["a"],"Layers":[]}]'}
    assert "'a', which is not there" in refusal(shelf, saved(tmp_path, tar(files, {"a": "b", "b": "a"}))).message


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("rancher/klipper-lb:v0.4.13", "docker.io/rancher/klipper-lb:v0.4.13"),
        ("localhost/a", "localhost/a:latest"),
        ("registry.example.com:5000/a/b:2", "registry.example.com:5000/a/b:2"),
    ],
)
def test_names_are_written_out_as_containerd_keeps_them(name: str, full: str) -> None:
    assert full_ref(name) == full


SMALL = tar(oci_files([Picture(("example.com/a:1",), (tar({"x": b"y"}),))], packed=True))[: -18 * 512]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.binary(min_size=1, max_size=40)), max_size=3))
def test_whatever_is_altered_an_archive_is_read_or_refused_but_never_breaks_the_reader(
    shelf: Shelf, tmp_path: Path, changes: list[tuple[int, bytes]]
) -> None:
    content = bytearray(SMALL)
    for at, new in changes:
        content[at : at + len(new)] = new
    path = saved(tmp_path, bytes(content))
    try:
        assert [image.ref for image in images(shelf, path)]
    except BundleError as fault:
        assert fault.code.startswith("E-BUNDLE-")  # noqa: PT017 - either outcome is right
