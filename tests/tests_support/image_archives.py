"""Image archives written by hand, as docker and OCI tools write them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


def layer_bytes(seed: str, size_bytes: int = 3000) -> bytes:
    """A small layer: a tar archive with one file."""
    content = hashlib.shake_256(seed.encode()).digest(size_bytes)
    return tar({f"opt/{seed}": content})


def tar(files: Mapping[str, bytes], links: Mapping[str, str] | None = None, form: int = tarfile.USTAR_FORMAT) -> bytes:
    """A tar archive of files and symbolic links."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    return buffer.getvalue()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def config_bytes(layers: Sequence[bytes], arch: str = "amd64", **more: Any) -> bytes:
    """An image's configuration that names these layers, given unpacked."""
    ids = [f"sha256:{sha256(layer)}" for layer in layers]
    rootfs = {"type": "layers", "diff_ids": ids}
    return json.dumps({"architecture": arch, "os": "linux", "rootfs": rootfs, **more}).encode()


@dataclass(frozen=True)
class Picture:
    """One image to be written."""

    names: tuple[str, ...]
    layers: tuple[bytes, ...]
    arch: str = "amd64"


def docker_files(pictures: Sequence[Picture]) -> dict[str, bytes]:
    """The files of a `docker save` archive of the old form: a directory for each layer."""
    files: dict[str, bytes] = {}
    manifest = []
    for picture in pictures:
        config = config_bytes(picture.layers, picture.arch, comment=picture.names[0] if picture.names else "")
        layers = [f"{sha256(layer)}/layer.tar" for layer in picture.layers]
        files |= dict(zip(layers, picture.layers, strict=True)) | {f"{sha256(config)}.json": config}
        manifest.append({"Config": f"{sha256(config)}.json", "RepoTags": list(picture.names) or None, "Layers": layers})
    return files | {"manifest.json": json.dumps(manifest).encode()}


def oci_files(pictures: Sequence[Picture], *, packed: bool = True, nested: bool = False) -> dict[str, bytes]:
    """The files of an OCI layout; layers packed with gzip, all architectures of a name below one index if nested."""
    blobs: dict[str, bytes] = {}

    def add(content: bytes, media_type: str, **more: Any) -> dict[str, Any]:
        blobs[f"blobs/sha256/{sha256(content)}"] = content
        digest = f"sha256:{sha256(content)}"
        return {"mediaType": media_type, "digest": digest, "size": len(content), **more}

    entries: list[dict[str, Any]] = []
    for picture in pictures:
        config = add(config_bytes(picture.layers, picture.arch), "application/vnd.oci.image.config.v1+json")
        kind = "application/vnd.oci.image.layer.v1.tar" + ("+gzip" if packed else "")
        layers = [add(gzip.compress(x, mtime=0) if packed else x, kind) for x in picture.layers]
        manifest = json.dumps({"schemaVersion": 2, "config": config, "layers": layers}).encode()
        platform = {"os": "linux", "architecture": picture.arch}
        entry = add(manifest, "application/vnd.oci.image.manifest.v1+json", platform=platform)
        entries += [{**entry, "annotations": {"io.containerd.image.name": name}} for name in picture.names]
    if nested:
        unknown = {"platform": {"os": "unknown", "architecture": "unknown"}, "digest": "sha256:" + "0" * 64}
        inner = json.dumps({"schemaVersion": 2, "manifests": [*entries, unknown]}).encode()
        annotations = {"org.opencontainers.image.ref.name": pictures[0].names[0]}
        entries = [add(inner, "application/vnd.oci.image.index.v1+json", annotations=annotations)]
    index = json.dumps({"schemaVersion": 2, "manifests": entries}).encode()
    return {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": index, **blobs}


def write_files(directory: Path, files: Mapping[str, bytes]) -> Path:
    """Files in a directory, as a layout lies there."""
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return directory
