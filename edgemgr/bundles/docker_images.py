"""Images of an archive as `docker save` writes it: `manifest.json` names configurations, layers and tags."""

from __future__ import annotations

from typing import Any

from edgemgr.bundles.images import Image, ImageBuilder, ImageFiles, full_ref, image_fault, read_json
from edgemgr.bundles.shelf import Blob


def docker_images(files: ImageFiles, index: Blob, builder: ImageBuilder, ref: str | None) -> list[Image]:
    """Every image under every name that it has.

    Args:
        files: the archive's files.
        index: its `manifest.json`.
        builder: checks layers.
        ref: the name of the only image, where the archive has no name for it.

    Raises:
        BundleError: something is missing or does not fit (E-BUNDLE-IMAGE).
    """
    entries = read_json(files, index, "manifest.json")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise image_fault(files, "manifest.json is no list of images")
    found = []
    for entry in entries:
        names = _texts(files, entry, "RepoTags")
        if ref is not None and len(entries) == 1:
            names = [ref]
        if not names:
            raise image_fault(files, "an image has no name", "Save it by name, or give its name with `ref:`.")
        config = _file(files, str(entry.get("Config")), names[0])
        layers = [_file(files, name, names[0]) for name in _texts(files, entry, "Layers")]
        found += [builder.from_parts(files, full_ref(name), config, layers) for name in names]
    return found


def _texts(files: ImageFiles, entry: dict[str, Any], key: str) -> list[str]:
    texts = entry.get(key) or []
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise image_fault(files, f"manifest.json: {key} is no list of names")
    return texts


def _file(files: ImageFiles, name: str, image: str) -> Blob:
    blob = files.find(name)
    if blob is None:
        raise image_fault(files, f"{image} needs {name!r}, which is not there")
    return blob
