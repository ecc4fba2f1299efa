"""Reads the images of one source, whatever its form: an archive of `docker save`, an OCI layout, or both in one."""

from __future__ import annotations

from pathlib import Path

from edgemgr.bundles.archive_images import Progress, read_archive
from edgemgr.bundles.docker_images import docker_images
from edgemgr.bundles.images import Image, ImageBuilder, ImageFiles, image_fault
from edgemgr.bundles.layout_images import LayoutFiles
from edgemgr.bundles.oci_images import has_names, oci_images
from edgemgr.bundles.shelf import Shelf
from edgemgr.model.release import Arch


def read_images(
    path: Path,
    arch: Arch,
    shelf: Shelf,
    builder: ImageBuilder,
    *,
    ref: str | None = None,
    on_progress: Progress | None = None,
) -> list[Image]:
    """The images for one architecture, by their full names in order.

    Where a file is both, as newer `docker save` writes it, its OCI half is taken, since manifests keep their digest;
    the other half when only that has the images' full names.

    Args:
        path: an archive, or the directory of an OCI layout.
        arch: whose images are wanted.
        shelf: where content of archives is kept.
        builder: checks layers.
        ref: the image's name, for a source with one image that has none.
        on_progress: told how much of an archive was read.

    Raises:
        BundleError: the source cannot be read (E-BUNDLE-FILE), its archive is damaged (E-BUNDLE-ARCHIVE), or its
            images cannot be taken (E-BUNDLE-IMAGE).
    """
    files: ImageFiles = LayoutFiles(path, shelf) if path.is_dir() else read_archive(path, shelf, on_progress)
    index, listed = files.find("index.json"), files.find("manifest.json")
    if index is not None and (listed is None or has_names(files, index)):
        images = oci_images(files, index, builder, arch, ref)
    elif listed is not None:
        images = docker_images(files, listed, builder, ref)
    else:
        raise image_fault(
            files,
            "it holds no images: neither manifest.json nor index.json",
            "Give an archive of `docker save`, or an OCI image layout.",
        )
    if other := next((image for image in images if image.arch is not arch), None):
        raise image_fault(files, f"{other.ref} is for {other.arch}, not {arch}", "Mend `arch:` in bundle.yaml.")
    if not images:
        raise image_fault(files, f"it holds no image for {arch}", "Mend `arch:` in bundle.yaml.")
    if ref is not None and len({image.manifest.digest for image in images}) > 1:
        raise image_fault(files, "`ref:` names one image, but there are several", "Leave `ref:` out.")
    return sorted(images, key=lambda image: image.ref)
