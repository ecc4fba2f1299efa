"""A directory of k3s release files → verified files in the appliance's own store, by digest; all of them or none."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgemgr.errors import ReleaseError
from edgemgr.inventory.release_faults import ReleaseFault, ReleaseFaultsError, hash_fault, kind_fault
from edgemgr.inventory.release_version import agreed_version, printed_version
from edgemgr.model.release import (
    RULES,
    Arch,
    Part,
    arch_of_machine,
    hash_list_name,
    image_archive_names,
    read_hash_list,
)
from edgemgr.model.release_file import ReleaseFile
from edgemgr.model.version import K3sVersion

_BLOCK_BYTES = 1 << 20
_ALSO_PUBLISHED = {"k3s-images.txt", "install.sh"}

#: Called with a file's name, the bytes of it that were read so far, and its size.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class AddedRelease:
    """A release that is complete in the store; the caller writes the rows."""

    version: str
    files: tuple[ReleaseFile, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Candidate:
    """A file that belongs to the release, and the hash that it must have."""

    path: Path
    arch: Arch
    part: Part
    digest: str


def add_release(
    directory: Path, *, store_dir: Path, version: str | None = None, on_progress: Progress | None = None
) -> AddedRelease:
    """Verify a directory of k3s release files and copy them to `store_dir/sha256/<digest>`.

    For each architecture that any file speaks of there must be a binary, an image archive and both hashes in
    `sha256sum-ARCH.txt`. What is copied is what was hashed, in one pass. A file that the store has is not copied
    again.

    Args:
        directory: the files, as published by k3s.
        store_dir: the appliance's release store; made when it is not there.
        version: what the operator says it is; found out when None.
        on_progress: told of every block that was read.

    Raises:
        ReleaseError: a file is missing, damaged, of another architecture or no archive, or the version is unknown
            or in dispute. All faults come in one error (`ReleaseFaultsError`); the store is as it was.
    """
    directory = directory.resolve()
    if not directory.is_dir():
        raise ReleaseError(
            f"{directory} is not a directory",
            hint="Give the directory that holds k3s, the image archive and sha256sum-amd64.txt.",
            code="E-RELEASE-MISSING",
        )
    try:
        candidates, faults = _complete(directory)
        with _private_copies(store_dir) as copies:
            for candidate in candidates:
                fault = kind_fault(candidate.path, candidate.arch, candidate.part)
                if fault := fault or _take(candidate, store_dir, copies, on_progress):
                    faults.append(fault)
            if faults:
                raise ReleaseFaultsError(directory, faults)
            agreed = agreed_version(directory, given=version, printed=_ask(candidates, copies))
            files = tuple(_release_file(candidate, str(agreed)) for candidate in candidates)
            _keep(store_dir, copies)
    except OSError as exc:
        raise ReleaseError(
            f"the release in {directory} could not be read or stored: {exc}",
            hint=f"See that {directory} is readable and that {store_dir} is writable and has room.",
            code="E-RELEASE-STORE",
        ) from exc
    return AddedRelease(str(agreed), files, tuple(_warnings(directory, {c.path.name for c in candidates})))


def _complete(directory: Path) -> tuple[list[_Candidate], list[ReleaseFault]]:
    """The files of every architecture that any file speaks of, and what is missing of them."""
    present = {path.name for path in directory.iterdir() if path.is_file()}
    candidates: list[_Candidate] = []
    faults: list[ReleaseFault] = []
    for arch, rule in RULES.items():
        archives = image_archive_names(arch)
        if not present & {rule.binary, hash_list_name(arch), *archives}:
            continue
        hashes = {}
        if hash_list_name(arch) in present:
            hashes = read_hash_list((directory / hash_list_name(arch)).read_text("utf-8", "replace"))
        else:
            faults.append(_missing(hash_list_name(arch), f"so the files for {arch} cannot be verified"))
        for part, names in ((Part.BINARY, (rule.binary,)), (Part.IMAGES, archives)):
            name = next((name for name in names if name in present), None)
            if name is None:
                faults.append(_missing(" or ".join(names), f"a release needs one for {arch}"))
            elif name in hashes:
                candidates.append(_Candidate(directory / name, arch, part, hashes[name]))
            elif hash_list_name(arch) in present:
                message = f"{hash_list_name(arch)} has no line for {name}"
                hint = "Fetch the list again; it must be the one of this very version."
                faults.append(ReleaseFault("E-RELEASE-HASH-LINE", message, hint))
    if not candidates and not faults:
        faults.append(_missing("every file of a release", f"nothing in {directory} is one"))
    return candidates, faults


def _missing(what: str, why: str) -> ReleaseFault:
    hint = "Fetch all files of the architecture from the release's page: binary, image archive and list of hashes."
    return ReleaseFault("E-RELEASE-MISSING", f"{what} is missing: {why}", hint)


@contextmanager
def _private_copies(store_dir: Path) -> Iterator[Path]:
    """A directory that only we can look into, on the store's own file system, gone at the end."""
    store_dir.mkdir(parents=True, exist_ok=True)
    copies = Path(tempfile.mkdtemp(prefix=".adding-", dir=store_dir))
    try:
        yield copies
    finally:
        shutil.rmtree(copies, ignore_errors=True)


def _take(candidate: _Candidate, store_dir: Path, copies: Path, on_progress: Progress | None) -> ReleaseFault | None:
    """Hash a file while copying it aside; the copy is kept only when the hash is right and the store lacks it."""
    name, size = candidate.path.name, candidate.path.stat().st_size
    stored = store_dir / "sha256" / candidate.digest
    copy = copies / candidate.digest
    sink = Path(os.devnull) if stored.is_file() and stored.stat().st_size == size else copy
    digest, done = hashlib.sha256(), 0
    with candidate.path.open("rb") as source, sink.open("wb") as target:
        while block := source.read(_BLOCK_BYTES):
            digest.update(block)
            target.write(block)
            done += len(block)
            if on_progress:
                on_progress(name, done, size)
        target.flush()
        if sink is copy:
            os.fsync(target.fileno())
    if digest.hexdigest() == candidate.digest:
        return None
    copy.unlink(missing_ok=True)
    return hash_fault(candidate.path, candidate.arch, candidate.part, found=digest.hexdigest(), wanted=candidate.digest)


def _ask(candidates: list[_Candidate], copies: Path) -> K3sVersion | None:
    """What the program for this machine's own architecture says its version is."""
    own = arch_of_machine(platform.machine())
    candidate = next((c for c in candidates if c.part is Part.BINARY and c.arch is own), None)
    if candidate is None:
        return None
    # A copy of its own, always: the stored files are never executable, and the directory's file may change.
    program = copies / "k3s"
    verified = copies / candidate.digest
    shutil.copyfile(verified if verified.exists() else copies.parent / "sha256" / candidate.digest, program)
    program.chmod(0o700)
    version = printed_version(program)
    program.unlink()
    return version


def _keep(store_dir: Path, copies: Path) -> None:
    """Move the verified copies into their places, safe against a power loss."""
    blobs = store_dir / "sha256"
    blobs.mkdir(exist_ok=True)
    for copy in sorted(copies.iterdir()):
        copy.chmod(0o444)
        copy.rename(blobs / copy.name)
    directory = os.open(blobs, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _release_file(candidate: _Candidate, version: str) -> ReleaseFile:
    return ReleaseFile(
        version=version,
        arch=candidate.arch.value,
        part=candidate.part.value,
        name=candidate.path.name,
        digest=candidate.digest,
        size_bytes=candidate.path.stat().st_size,
    )


def _warnings(directory: Path, taken: set[str]) -> Iterator[str]:
    """What lies in the directory and was not looked at."""
    known = taken | {hash_list_name(arch) for arch in RULES} | _ALSO_PUBLISHED
    for path in sorted(directory.iterdir()):
        if path.name not in known:
            yield f"{path.name} is not part of the release and was left out"
