"""Container images as a bundle carries them: a manifest, a configuration and layers, each a blob.

A layer stays as the archive has it, packed or plain, so that images which share a layer share its blob. What a layer
unpacks to is measured, and must be what the image's configuration says (OCI image specification, DiffID).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from edgemgr.bundles.shelf import Blob, Shelf
from edgemgr.bundles.unpacking import Unpacked
from edgemgr.errors import BundleError
from edgemgr.model.release import Arch, Packing

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
_PACKED = {None: "", Packing.GZIP: "+gzip", Packing.ZSTD: "+zstd"}

_MAX_DOCUMENT_BYTES = 4 << 20
_MAX_LAYERS = 512
_MAX_LAYER_BYTES = 16 << 30
_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class Layer:
    """One layer of an image."""

    blob: Blob
    media_type: str
    uncompressed_bytes: int


@dataclass(frozen=True)
class Image:
    """One image for one architecture under one full name."""

    ref: str
    arch: Arch
    manifest: Blob
    manifest_type: str
    config: Blob
    config_type: str
    layers: tuple[Layer, ...]


class ImageFiles(Protocol):
    """The files of an archive or a layout, looked up by the names that its documents use."""

    @property
    def label(self) -> str:
        """How messages call it."""

    def find(self, name: str) -> Blob | None:
        """The file of that name, or None."""


class ImageBuilder:
    """Checks images and makes them whole; knows the layers that it has seen."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._unpacked: dict[str, tuple[Layer, str]] = {}

    def from_parts(self, files: ImageFiles, ref: str, config: Blob, layers: Sequence[Blob]) -> Image:
        """An image whose manifest is made here, as for an archive of `docker save`, which has none.

        Raises:
            BundleError: a layer is not what the configuration says (E-BUNDLE-IMAGE).
        """
        arch, made = self._checked(files, ref, config, layers)
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": {"mediaType": CONFIG_TYPE, "digest": f"sha256:{config.digest}", "size": config.size_bytes},
            "layers": [
                {"mediaType": layer.media_type, "digest": f"sha256:{layer.blob.digest}", "size": layer.blob.size_bytes}
                for layer in made
            ],
        }
        manifest = self._shelf.put([json.dumps(document, sort_keys=True, separators=(",", ":")).encode()])
        return Image(ref, arch, manifest, MANIFEST_TYPE, config, CONFIG_TYPE, made)

    def from_manifest(
        self,
        files: ImageFiles,
        ref: str,
        manifest: tuple[Blob, str],
        config: tuple[Blob, str],
        layers: Sequence[tuple[Blob, str]],
    ) -> Image:
        """An image that comes with its own manifest, which is kept as it is: its digest is the image's identity.

        Args:
            files: where the image is from.
            ref: its full name.
            manifest: its manifest, blob and media type.
            config: its configuration, the same.
            layers: its layers, the same.

        Raises:
            BundleError: a layer is not what the configuration says (E-BUNDLE-IMAGE).
        """
        arch, measured = self._checked(files, ref, config[0], [blob for blob, _ in layers])
        made = tuple(
            Layer(layer.blob, media_type, layer.uncompressed_bytes)
            for layer, (_, media_type) in zip(measured, layers, strict=True)
        )
        return Image(ref, arch, *manifest, *config, made)

    def _checked(
        self, files: ImageFiles, ref: str, config: Blob, layers: Sequence[Blob]
    ) -> tuple[Arch, tuple[Layer, ...]]:
        document = read_document(files, config, f"the configuration of {ref}")
        arch, diff_ids = _identity(files, ref, document)
        if len(diff_ids) != len(layers) or len(layers) > _MAX_LAYERS:
            raise image_fault(files, f"{ref} has {len(layers)} layers, its configuration names {len(diff_ids)}")
        made = []
        for blob, wanted in zip(layers, diff_ids, strict=True):
            layer, diff_id = self._measured(files, blob)
            if diff_id != wanted:
                raise image_fault(
                    files, f"a layer of {ref} is not the one that its configuration names: {diff_id}, not {wanted}"
                )
            made.append(layer)
        return arch, tuple(made)

    def _measured(self, files: ImageFiles, blob: Blob) -> tuple[Layer, str]:
        if blob.digest not in self._unpacked:
            with blob.path.open("rb") as file:
                content = Unpacked(file, what=f"layer sha256:{blob.digest[:12]} of {files.label}")
                diff_id = f"sha256:{blob.digest}"
                if content.packing:
                    digest = hashlib.sha256()
                    while block := content.read(_READ_BYTES):
                        digest.update(block)
                        if content.size_bytes > _MAX_LAYER_BYTES:
                            raise image_fault(files, f"a layer unpacks to more than {_MAX_LAYER_BYTES >> 30} GiB")
                    diff_id = f"sha256:{digest.hexdigest()}"
                size = content.size_bytes if content.packing else blob.size_bytes
            self._unpacked[blob.digest] = Layer(blob, LAYER_TYPE + _PACKED[content.packing], size), diff_id
        return self._unpacked[blob.digest]


def read_document(files: ImageFiles, blob: Blob, what: str) -> dict[str, Any]:
    """A JSON object of an archive.

    Raises:
        BundleError: it is too large or no JSON object (E-BUNDLE-IMAGE).
    """
    found = read_json(files, blob, what)
    if not isinstance(found, dict):
        raise image_fault(files, f"{what} is no JSON object")
    return found


def read_json(files: ImageFiles, blob: Blob, what: str) -> Any:
    """Any JSON of an archive.

    Raises:
        BundleError: it is too large or no JSON (E-BUNDLE-IMAGE).
    """
    if blob.size_bytes > _MAX_DOCUMENT_BYTES:
        raise image_fault(files, f"{what} has {blob.size_bytes} bytes; {_MAX_DOCUMENT_BYTES} are the most")
    try:
        return json.loads(blob.path.read_bytes())
    except (ValueError, RecursionError) as exc:
        raise image_fault(files, f"{what} is no JSON") from exc


def full_ref(name: str) -> str:
    """A name with its registry and its tag, as containerd keeps it: `busybox` → `docker.io/library/busybox:latest`."""
    first, slash, _ = name.partition("/")
    if not slash:
        name = f"docker.io/library/{name}"
    elif "." not in first and ":" not in first and first != "localhost":
        name = f"docker.io/{name}"
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def image_fault(files: ImageFiles, why: str, hint: str = "Save the images again, whole.") -> BundleError:
    """The error of an archive whose images cannot be taken."""
    return BundleError(f"{files.label}: {why}", hint=hint, code="E-BUNDLE-IMAGE")


def _identity(files: ImageFiles, ref: str, config: dict[str, Any]) -> tuple[Arch, list[str]]:
    """Architecture and layers, by an image's configuration."""
    system, machine = config.get("os", "linux"), config.get("architecture")
    if system != "linux" or machine not in set(Arch):
        raise image_fault(files, f"{ref} is for {system}/{machine}, which is no system of a site")
    rootfs = config.get("rootfs")
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(diff_ids, list) or not all(isinstance(item, str) for item in diff_ids):
        raise image_fault(files, f"the configuration of {ref} names no layers")
    return Arch(machine), diff_ids
