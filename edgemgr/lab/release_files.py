"""Writes k3s release directories as they are published: for the stand-in, and around real files that one has."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from edgemgr.errors import LabError
from edgemgr.lab.k3s_standin.build import build_standin
from edgemgr.lab.k3s_standin.node.packaged import images as needed_images
from edgemgr.model.release import (
    RULES,
    Arch,
    Packing,
    elf_arch,
    hash_list_name,
    image_archive_name,
    packing_of,
)
from edgemgr.model.version import K3sVersion
from edgemgr.settings import program_environment

_BLOCK_BYTES = 1 << 20
_VERSION_TIMEOUT_S = 60.0


def write_standin_release(
    directory: Path,
    version: str,
    *,
    arches: tuple[str, ...] = ("amd64",),
    faults: Mapping[str, float] | None = None,
    images_mib: int = 8,
) -> None:
    """Write a release of the stand-in for k3s; the same arguments give the same bytes.

    Args:
        directory: made when it is not there; one with the same content is left as it is.
        version: for example `v1.33.5+k3s1`.
        arches: of amd64, arm64, arm; only amd64 can be run.
        faults: what goes wrong with the release, see `k3s_standin/node/faults.py`.
        images_mib: size of the image archive, in MiB.

    Raises:
        LabError: the directory holds something else (E-LAB-RELEASE), or a fault is unknown (E-LAB-FAULT).
        ReleaseError: the version is none.
    """
    names = sorted(needed_images(str(K3sVersion.parse(version))).values())

    def write(target: Path) -> None:
        for arch in (Arch(name) for name in arches):
            binary = target / RULES[arch].binary
            binary.write_bytes(build_standin(version, arch=arch, faults=faults))
            binary.chmod(0o755)
            archive = target / image_archive_name(arch, Packing.GZIP)
            archive.write_bytes(_image_archive(names, arch, images_mib << 20))
            _write_hash_list(target, arch, [binary.name, archive.name])
        (target / "k3s-images.txt").write_text("".join(f"{name}\n" for name in names))

    _write_whole(directory, write)


def write_real_release(directory: Path, k3s: Path, images: Path) -> str:
    """Write a release directory around a real k3s binary and its image archive.

    The hashes are made here, of the files as they are: what this release says is that nothing changed since.

    Returns:
        The version that the binary prints.

    Raises:
        LabError: a file is not what it should be, or the directory holds something else (E-LAB-RELEASE).
    """
    with k3s.open("rb") as file:
        arch = elf_arch(file.read(64))
    with images.open("rb") as file:
        packing = packing_of(file.read(512))
    if arch is None or packing is None:
        wrong = f"{k3s} is no k3s program" if arch is None else f"{images} is no archive of images"
        raise LabError(
            wrong, hint="Give the files k3s and k3s-airgap-images-amd64.tar.zst of one release.", code="E-LAB-RELEASE"
        )
    version = _printed_version(k3s)
    known = arch, packing

    def write(target: Path) -> None:
        arch, packing = known
        binary, archive = target / RULES[arch].binary, target / image_archive_name(arch, packing)
        shutil.copyfile(k3s, binary)
        binary.chmod(0o755)
        shutil.copyfile(images, archive)
        _write_hash_list(target, arch, [binary.name, archive.name])

    _write_whole(directory, write)
    return version


def _printed_version(k3s: Path) -> str:
    try:
        result = subprocess.run(
            [str(k3s.resolve()), "--version"],
            env=program_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_VERSION_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as exc:
        raise LabError(
            f"{k3s} does not tell its version: {exc}",
            hint="It must be executable and made for this machine's architecture.",
            code="E-LAB-RELEASE",
        ) from exc
    version = K3sVersion.find(result.stdout)
    if version is None:
        raise LabError(
            f"{k3s} --version prints no version of k3s",
            hint="Give the binary of a k3s release.",
            code="E-LAB-RELEASE",
        )
    return str(version)


def _write_whole(directory: Path, write: Callable[[Path], None]) -> None:
    """Write beside, then rename; a directory that is there already must be the same, file by file."""
    directory = directory.absolute()
    directory.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    try:
        write(beside)
        beside.chmod(0o755)
        if not directory.exists() or not any(directory.iterdir()):
            beside.rename(directory)
        elif _digests(directory) != _digests(beside):
            raise LabError(
                f"{directory} holds other files than this release",
                hint="Give a directory that is empty or not there yet, or remove that one.",
                code="E-LAB-RELEASE",
            )
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _digests(directory: Path) -> dict[str, str]:
    return {path.name: _sha256(path) if path.is_file() else "" for path in directory.iterdir()}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_hash_list(directory: Path, arch: Arch, names: list[str]) -> None:
    lines = "".join(f"{_sha256(directory / name)}  {name}\n" for name in sorted(names, reverse=True))
    (directory / hash_list_name(arch)).write_text(lines)


def _image_archive(names: list[str], arch: Arch, size_bytes: int) -> bytes:
    """An archive as `docker save` writes it, with one layer of bytes that do not compress for each image."""
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=buffer, compresslevel=1, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.USTAR_FORMAT) as archive,
    ):
        manifest = []
        for name in names:
            layer = hashlib.shake_256(f"{name} {arch}".encode()).digest(size_bytes // len(names))
            digest = hashlib.sha256(layer).hexdigest()
            config = json.dumps(
                {
                    "architecture": arch.value,
                    "os": "linux",
                    "config": {},
                    "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
                    "comment": f"{name}: an image of the stand-in for k3s, nothing in it can run",
                }
            ).encode()
            config_name = f"{hashlib.sha256(config).hexdigest()}.json"
            _add(archive, f"{digest}/layer.tar", layer)
            _add(archive, config_name, config)
            manifest.append({"Config": config_name, "RepoTags": [name], "Layers": [f"{digest}/layer.tar"]})
        _add(archive, "manifest.json", json.dumps(manifest).encode())
    return buffer.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))
