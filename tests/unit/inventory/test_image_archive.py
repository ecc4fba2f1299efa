from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest
from tests_support.bundle_files import CONFIG_TYPE, IMAGE_TYPE
from tests_support.image_archives import config_bytes, layer_bytes

from edgemgr.errors import BundleError
from edgemgr.inventory.content_store import ContentStore
from edgemgr.inventory.image_archive import StoredImage, image_archive
from edgemgr.lab.k3s_standin.node.images import read_archive
from edgemgr.model.release import Arch

SHARED = layer_bytes("shared", 9000)


class Images:
    """Images in a content store; two of them share a layer."""

    def __init__(self, directory: Path) -> None:
        self.store = ContentStore(directory)
        self.blobs: dict[str, int] = {}

    def put(self, content: bytes) -> str:
        stored = self.store.take([content])
        self.blobs[stored.digest] = stored.size_bytes
        return stored.digest

    def image(self, ref: str, **changes) -> StoredImage:
        layers = (SHARED, layer_bytes(ref.replace("/", "-")))
        parts = [self.put(content) for content in (config_bytes(layers), *layers)]
        document = {
            "schemaVersion": 2,
            "config": {"mediaType": CONFIG_TYPE, "digest": f"sha256:{parts[0]}"},
            "layers": [{"mediaType": "x", "digest": f"sha256:{part}"} for part in parts[1:]],
            **changes,
        }
        return StoredImage(ref, self.put(json.dumps(document).encode()), IMAGE_TYPE)

    def archive(self, *images: StoredImage) -> bytes:
        return b"".join(image_archive(self.store, images, Arch.AMD64, self.blobs))


@pytest.fixture
def images(tmp_path: Path) -> Images:
    return Images(tmp_path)


def test_the_archive_holds_each_layer_once_and_is_what_both_kinds_of_loader_read(
    images: Images, tmp_path: Path
) -> None:
    archive = images.archive(images.image("docker.io/a/one:1"), images.image("docker.io/a/two:1"))
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        found = {member.name: opened.extractfile(member).read() for member in opened}  # type: ignore[union-attr]
        names = opened.getnames()
    assert len(names) == len(set(names)) == 3 + 7  # indexes; two manifests, two configurations, three layers
    for name, content in found.items():
        if name.startswith("blobs/sha256/"):
            assert hashlib.sha256(content).hexdigest() == name.rpartition("/")[2]
    index = json.loads(found["index.json"])["manifests"]
    assert [entry["annotations"]["io.containerd.image.name"] for entry in index] == [
        "docker.io/a/one:1",
        "docker.io/a/two:1",
    ]
    docker = json.loads(found["manifest.json"])
    assert all(part in found for entry in docker for part in (entry["Config"], *entry["Layers"]))
    (tmp_path / "images.tar").write_bytes(archive)
    assert set(read_archive(tmp_path / "images.tar")) == {"docker.io/a/one:1", "docker.io/a/two:1"}


def test_the_same_images_give_the_same_bytes(images: Images) -> None:
    one, two = images.image("docker.io/a/one:1"), images.image("docker.io/a/two:1")
    assert images.archive(one, two) == images.archive(one, two)


@pytest.mark.parametrize(
    "changes",
    [
        {"config": {"digest": f"sha256:{'0' * 64}"}},
        {"config": {"digest": "sha256:../../etc/passwd"}},
        {"config": None},
        {"config": {"digest": 5}},
        {"layers": [{"digest": "md5:00"}]},
        {"layers": 7},
        {"layers": ["x"]},
    ],
)
def test_a_manifest_that_names_what_is_not_there_is_refused(images: Images, changes: dict) -> None:
    with pytest.raises(BundleError) as caught:
        images.archive(images.image("docker.io/a/one:1", **changes))
    assert caught.value.code == "E-BUNDLE-IMAGE"
    assert "docker.io/a/one:1" in caught.value.message


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'"text"'])
def test_what_is_no_manifest_is_refused(images: Images, content: bytes) -> None:
    with pytest.raises(BundleError):
        images.archive(StoredImage("docker.io/a/one:1", images.put(content), IMAGE_TYPE))
