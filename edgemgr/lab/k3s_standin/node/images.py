"""Container images: a list of names, filled from archives as `docker save` and OCI tools write them.

Only the names are kept, not the layers. An archive is read to its end first, so half a file imports nothing.
"""

from __future__ import annotations

import gzip
import json
import os
import platform
import shutil
import subprocess
import tarfile

from .environment import write_private
from .journal import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

_OCI_NAMES = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}
_METADATA_LIMIT_BYTES = 4 << 20


class ImportFailedError(Exception):
    """An archive that cannot be imported."""


def full_name(name: str) -> str:
    """The name with its registry and tag, as containerd keeps it: `busybox` is docker.io/library/busybox:latest."""
    first, slash, _ = name.partition("/")
    if not slash:
        name = f"docker.io/library/{name}"
    elif "." not in first and ":" not in first and first != "localhost":
        name = f"docker.io/{name}"
    return name if ":" in name.rpartition("/")[2] or "@" in name else f"{name}:latest"


class ImageStore:
    """The images that the node has. Kept in a file, which `k3s ctr` changes as well as the server."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "agent/containerd/images.json"

    def all(self) -> dict[str, dict[str, Any]]:
        """Name → size in bytes and digest."""
        found: dict[str, dict[str, Any]] = json.loads(self._path.read_text()) if self._path.exists() else {}
        return found

    def add(self, images: dict[str, dict[str, Any]]) -> None:
        """Add images, or replace those of the same names."""
        merged = {**self.all(), **images}
        if merged != self.all():
            write_private(self._path, json.dumps(merged))

    def remove(self, names: list[str]) -> None:
        """Forget images."""
        write_private(self._path, json.dumps({k: v for k, v in self.all().items() if k not in names}))


def import_directory(directory: Path, store: ImageStore) -> None:
    """Import every archive in a directory; one that cannot be imported is logged and passed over, as k3s does."""
    for path in sorted(directory.iterdir()) if directory.is_dir() else []:
        if path.name.startswith(".") or path.is_dir() or path.suffix == ".txt":
            continue
        try:
            images = read_archive(path)
        except ImportFailedError as exc:
            log("error", f"Unable to import {path}: {exc}")
            continue
        store.add(images)
        log("info", f"Imported {len(images)} images from {path}")


def read_archive(path: Path) -> dict[str, dict[str, Any]]:
    """The images of an archive.

    Raises:
        ImportFailedError: it is damaged, cut off, packed in an unknown way, or for another architecture.
    """
    try:
        if path.name.endswith((".tar.zst", ".tzst")):
            return _read_zstd(path)
        if path.name.endswith((".tar.gz", ".tgz")):
            with gzip.open(path, "rb") as file:
                return _read_tar(file)
        with path.open("rb") as file:
            return _read_tar(file)
    except (OSError, EOFError, tarfile.TarError, KeyError, TypeError, ValueError) as exc:
        raise ImportFailedError(str(exc) or type(exc).__name__) from exc


def _read_zstd(path: Path) -> dict[str, dict[str, Any]]:
    if shutil.which("zstd") is None:
        raise ImportFailedError("the stand-in for k3s needs the zstd program for this archive, and it is not installed")
    with subprocess.Popen(["zstd", "-dc", str(path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        images = _read_tar(process.stdout)
    if process.returncode:
        raise ImportFailedError("unexpected EOF")
    return images


def _read_tar(file: Any) -> dict[str, dict[str, Any]]:
    metadata: dict[str, Any] = {}
    with tarfile.open(fileobj=file, mode="r|") as archive:
        for member in archive:
            # Only metadata is small JSON; layers are read past, which finds out whether they are whole.
            content = archive.extractfile(member) if member.isfile() else None
            if content and member.size <= _METADATA_LIMIT_BYTES and (first := content.read(1)) in (b"{", b"["):
                metadata[member.name.removeprefix("./")] = json.loads(first + content.read())
    while file.read(1 << 20):
        pass  # what follows the end of the archive is still checked by the decompressor
    if "manifest.json" in metadata:
        return _docker_images(metadata)
    if "index.json" in metadata:
        return _oci_images(metadata["index.json"])
    raise ImportFailedError("unrecognized image format: neither manifest.json nor index.json")


def _docker_images(metadata: dict[str, Any]) -> dict[str, dict[str, Any]]:
    own = _MACHINES.get(platform.machine(), platform.machine())
    found = {}
    for entry in metadata["manifest.json"]:
        config = metadata.get(entry["Config"], {})
        if config.get("architecture", own) != own:
            raise ImportFailedError(f"no match for platform in manifest: image is for {config['architecture']}")
        for name in entry.get("RepoTags") or []:
            digest = os.path.basename(entry["Config"]).partition(".")[0]  # noqa: PTH119 — a name in an archive
            found[full_name(name)] = {"digest": f"sha256:{digest}", "size": int(config.get("size", 0))}
    return found


def _oci_images(index: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found = {}
    for entry in index["manifests"]:
        name = next((entry["annotations"][key] for key in _OCI_NAMES if key in entry.get("annotations", {})), "")
        if name:
            found[full_name(name)] = {"digest": entry["digest"], "size": int(entry.get("size", 0))}
    return found
