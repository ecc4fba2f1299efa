"""Images of an OCI image layout: `index.json` leads to manifests, perhaps by an index for several platforms."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from edgemgr.bundles.images import MANIFEST_TYPE, Image, ImageBuilder, ImageFiles, full_ref, image_fault, read_document
from edgemgr.bundles.shelf import Blob
from edgemgr.model.release import Arch

#: containerd writes the full name, the specification's own annotation may be a mere tag.
_NAME, _REF = "io.containerd.image.name", "org.opencontainers.image.ref.name"
_INDEX_TYPES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_CONFIG_TYPES = ("application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json")
_MAX_DEPTH, _MAX_ENTRIES = 4, 10_000
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")


def oci_images(files: ImageFiles, index: Blob, builder: ImageBuilder, arch: Arch, ref: str | None) -> list[Image]:
    """The images for one architecture, under their full names; what is for others is left out.

    Args:
        files: the layout's files.
        index: its `index.json`.
        builder: checks layers.
        arch: whose images are wanted; every image must be there for it.
        ref: the name of the only image, where the layout has no full name for it.

    Raises:
        BundleError: something is missing or does not fit, or an image has no name (E-BUNDLE-IMAGE).
    """
    entries = [entry for entry in _entries(files, index) if not _is_attestation(entry)]
    found: list[Image] = []
    names = set()
    for entry in entries:
        name = ref if ref is not None and len({str(e.get("digest")) for e in entries}) == 1 else image_name(entry)
        if name is None:
            raise image_fault(files, "an image has no full name", "Give its name, with registry and tag, with `ref:`.")
        names.add(full_ref(name))
        if _is_for(entry, arch):
            found += _images(files, entry, builder, arch, name=full_ref(name), depth=_MAX_DEPTH)
    if missing := sorted(names - {image.ref for image in found}):
        raise image_fault(files, f"{missing[0]} is not there for {arch}", "Mend `arch:`, or save it for that too.")
    return found


def has_names(files: ImageFiles, index: Blob) -> bool:
    """Whether every image of the layout has a full name of its own."""
    return all(_is_attestation(entry) or image_name(entry) is not None for entry in _entries(files, index))


def image_name(entry: dict[str, Any]) -> str | None:
    """The full name of an entry of the index, or None when there is at most a tag."""
    annotations = entry.get("annotations")
    if not isinstance(annotations, dict):
        return None
    names = [annotations.get(key) for key in (_NAME, _REF)]
    return next((name for name in names if isinstance(name, str) and ("/" in name or ":" in name)), None)


def _images(
    files: ImageFiles, entry: dict[str, Any], builder: ImageBuilder, arch: Arch, *, name: str, depth: int
) -> Iterator[Image]:
    if not depth:
        raise image_fault(files, f"the indexes of {name} lead too deep")
    blob = _blob(files, entry, name)
    document = read_document(files, blob, f"the manifest of {name}")
    if entry.get("mediaType") in _INDEX_TYPES or "manifests" in document:
        for inner in _entries(files, blob):
            if _is_for(inner, arch):
                yield from _images(files, inner, builder, arch, name=name, depth=depth - 1)
        return
    config, layers = document.get("config"), document.get("layers")
    if not isinstance(config, dict) or config.get("mediaType") not in _CONFIG_TYPES or not isinstance(layers, list):
        raise image_fault(files, f"{name} is no container image", "A bundle carries images; charts go under `charts:`.")
    config_blob = _blob(files, config, name)
    if read_document(files, config_blob, f"the configuration of {name}").get("architecture") != arch.value:
        return
    parts = [(_blob(files, layer, name), str(layer.get("mediaType"))) for layer in layers if isinstance(layer, dict)]
    media_type = str(document.get("mediaType", MANIFEST_TYPE))
    yield builder.from_manifest(files, name, (blob, media_type), (config_blob, str(config["mediaType"])), parts)


def _entries(files: ImageFiles, index: Blob) -> list[dict[str, Any]]:
    entries = read_document(files, index, "index.json").get("manifests")
    if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries) or len(entries) > _MAX_ENTRIES:
        raise image_fault(files, "its index lists no manifests")
    return entries


def _is_attestation(entry: dict[str, Any]) -> bool:
    """Whether an entry is no image but a note on one, as BuildKit adds them."""
    annotations, platform = entry.get("annotations"), entry.get("platform")
    noted = isinstance(annotations, dict) and "vnd.docker.reference.type" in annotations
    return noted or (isinstance(platform, dict) and platform.get("os") == "unknown")


def _is_for(entry: dict[str, Any], arch: Arch) -> bool:
    platform = entry.get("platform")
    if _is_attestation(entry):
        return False
    if not isinstance(platform, dict):
        return True
    return platform.get("os", "linux") == "linux" and platform.get("architecture") == arch.value


def _blob(files: ImageFiles, entry: dict[str, Any], name: str) -> Blob:
    match = _DIGEST.fullmatch(str(entry.get("digest")))
    if match is None:
        raise image_fault(files, f"{name} refers to something without a SHA-256")
    blob = files.find(f"blobs/sha256/{match[1]}")
    if blob is None:
        raise image_fault(files, f"{name} needs the blob {match[0]}, which is not there")
    if blob.digest != match[1] or blob.size_bytes != entry.get("size", blob.size_bytes):
        raise image_fault(files, f"the blob {match[0]} of {name} is damaged")
    return blob
