"""Images of a bundle, kept as shared layers → one archive file as k3s, containerd and docker load it.

Bootstrap sends a file to a site. The archive is therefore made once, when the bundle is taken in; the layers stay in
the content store beside it, shared between versions, for transfers that send only what a site lacks. The same images
give the same bytes. It carries both indexes that loaders look for: `index.json` (OCI image layout) and
`manifest.json` (docker image specification v1.2).
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgemgr.errors import BundleError
from edgemgr.inventory.content_store import ContentStore
from edgemgr.model.archive_recipe import Slice
from edgemgr.model.release import Arch

_BLOCK_BYTES = 1 << 20
_TAR_BLOCK_BYTES = 512
_MAX_MANIFEST_BYTES = 4 << 20
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_INDEX_TYPE = "application/vnd.oci.image.index.v1+json"


@dataclass(frozen=True)
class StoredImage:
    """One image whose parts lie in the content store."""

    ref: str  #: full name:tag
    manifest: str  #: SHA-256 of its manifest
    media_type: str  #: of its manifest


def image_archive(
    store: ContentStore, images: Sequence[StoredImage], arch: Arch, blobs: Mapping[str, int]
) -> Iterator[bytes]:
    """The bytes of the archive.

    Raises:
        As `archive_parts`.
        OSError: a blob cannot be read.
    """
    for part in archive_parts(store, images, arch, blobs):
        if isinstance(part, bytes):
            yield part
            continue
        with store.path(part.digest).open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                yield block


def archive_parts(
    store: ContentStore, images: Sequence[StoredImage], arch: Arch, blobs: Mapping[str, int]
) -> Iterator[bytes | Slice]:
    """The archive as literal bytes and whole blobs, in order.

    Args:
        store: has every manifest.
        images: in the order in which the indexes name them.
        arch: what they run on.
        blobs: digest → size of everything that may be in it.

    Raises:
        BundleError: a manifest is none, or names a blob that the bundle does not hold (E-BUNDLE-IMAGE).
        OSError: a manifest cannot be read.
    """
    oci, docker = [], []
    needed: set[str] = set()
    for image in images:
        config, layers = _parts(store, image, blobs)
        needed.update((image.manifest, config, *layers))
        oci.append(
            {
                "mediaType": image.media_type,
                "digest": f"sha256:{image.manifest}",
                "size": blobs[image.manifest],
                "platform": {"architecture": arch.value, "os": "linux"},
                # The name that containerd gives the image; the other is what the layout's specification has.
                "annotations": {
                    "io.containerd.image.name": image.ref,
                    "org.opencontainers.image.ref.name": image.ref.rpartition(":")[2],
                },
            }
        )
        docker.append(
            {"Config": _member(config), "RepoTags": [image.ref], "Layers": [_member(item) for item in layers]}
        )
    yield from _small("oci-layout", {"imageLayoutVersion": "1.0.0"})
    yield from _small("index.json", {"schemaVersion": 2, "mediaType": _INDEX_TYPE, "manifests": oci})
    yield from _small("manifest.json", docker)
    for digest in sorted(needed):
        yield _header(_member(digest), blobs[digest])
        yield Slice(digest, blobs[digest])
        yield _padding(blobs[digest])
    yield bytes(2 * _TAR_BLOCK_BYTES)


def _parts(store: ContentStore, image: StoredImage, blobs: Mapping[str, int]) -> tuple[str, list[str]]:
    """The digests of an image's configuration and layers."""
    if blobs[image.manifest] > _MAX_MANIFEST_BYTES:
        raise _fault(image, "its manifest is too large")
    try:
        document = json.loads(store.path(image.manifest).read_bytes())
        config, *layers = [_digest(part) for part in (document["config"], *document["layers"])]
    except (ValueError, TypeError, KeyError, RecursionError) as exc:
        raise _fault(image, "its manifest cannot be read") from exc
    for digest in (config, *layers):
        if digest not in blobs:
            raise _fault(image, f"the bundle does not hold its part sha256:{digest}")
    return config, layers


def _digest(part: dict[str, Any]) -> str:
    match = _DIGEST.fullmatch(part["digest"])
    if match is None:
        raise ValueError("no SHA-256")
    return match[1]


def _fault(image: StoredImage, why: str) -> BundleError:
    return BundleError(
        f"the image {image.ref} of this bundle cannot be used: {why}",
        hint="The bundle was made wrong: ask whoever made it for another one.",
        code="E-BUNDLE-IMAGE",
    )


def _member(digest: str) -> str:
    return f"blobs/sha256/{digest}"


def _small(name: str, document: object) -> Iterator[bytes]:
    content = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    yield _header(name, len(content)) + content + _padding(len(content))


def _header(name: str, size_bytes: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size = size_bytes
    member.mode = 0o444
    return member.tobuf(tarfile.USTAR_FORMAT)


def _padding(size_bytes: int) -> bytes:
    return bytes(-size_bytes % _TAR_BLOCK_BYTES)
