"""A bundle → what a site of one architecture is to hold of it in its node's content store.

Programs, charts, manifests and packs are files. The images of each k3s version are one archive, the one that bootstrap
takes; the node puts it together from layers, so that only layers that it lacks travel.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from edgemgr.bundles import faults
from edgemgr.inventory.content_store import ContentStore
from edgemgr.inventory.image_archive import StoredImage, archive_parts
from edgemgr.links.transfer_plan import CHUNK_BYTES, Blob
from edgemgr.model.archive_recipe import ArchiveRecipe, Slice
from edgemgr.model.bundle import Bundle, BundleRelease, BundleTarget
from edgemgr.model.content import TargetCustom, TargetKind
from edgemgr.model.release import Arch, Part
from edgemgr.model.release_file import ReleaseFile
from edgemgr.store import bundles, releases
from edgemgr.store.database import Session

_digest_guard = threading.Lock()
_FILES = frozenset({TargetKind.K3S_BINARY, TargetKind.CHART, TargetKind.MANIFEST, TargetKind.PACK})


@dataclass(frozen=True)
class StageSet:
    """What a site is to hold of a bundle."""

    bundle: str
    files: tuple[Blob, ...]
    archives: tuple[ArchiveRecipe, ...]
    layers: Mapping[str, Blob]  #: digest → blob, of everything that the archives are made of

    @property
    def digests(self) -> frozenset[str]:
        """The files that lie in the node's store in the end."""
        return frozenset([blob.digest for blob in self.files] + [archive.digest for archive in self.archives])

    @property
    def sizes(self) -> dict[str, int]:
        """Everything that a node may hold of it: digest → size."""
        archives = {archive.digest: archive.size_bytes for archive in self.archives}
        return {blob.digest: blob.size_bytes for blob in (*self.files, *self.layers.values())} | archives

    @property
    def total_bytes(self) -> int:
        """What travels at most: every file and every layer once."""
        return sum({**{blob.digest: blob.size_bytes for blob in self.files}, **_sizes(self.layers)}.values())


@dataclass(frozen=True)
class StagePlan:
    """What one node still lacks of a set."""

    blobs: tuple[Blob, ...]  #: to be sent
    archives: tuple[ArchiveRecipe, ...]  #: to be put together, once the blobs are there


def plan_stage(wanted: StageSet, *, whole: Collection[str], inside: Collection[str]) -> StagePlan:
    """Leave out what the node holds: files by themselves (`whole`), and layers `inside` older archives."""
    archives = tuple(archive for archive in wanted.archives if archive.digest not in whole)
    needed = {part.digest for archive in archives for part in archive.slices} - set(inside)
    blobs = {blob.digest: blob for blob in wanted.files}
    blobs |= {digest: wanted.layers[digest] for digest in sorted(needed)}
    return StagePlan(tuple(blob for blob in blobs.values() if blob.digest not in whole), archives)


@dataclass(frozen=True)
class BundleRows:
    """What the database knows of a bundle's content. What is made of it may take minutes: no transaction waits."""

    bundle: Bundle
    targets: Sequence[BundleTarget]
    releases: Sequence[BundleRelease]
    files: Sequence[ReleaseFile]  #: of those k3s versions whose archive `release add` had brought


def read_rows(session: Session, bundle: Bundle) -> BundleRows:
    """Read what `compose` needs."""
    found = bundles.releases_of(session, bundle.id or 0)
    others = sorted({release.version for release in found if not release.archive_digest})
    files = [file for version in others for file in releases.files_of(session, version)]
    return BundleRows(bundle, bundles.targets_of(session, bundle.id or 0), found, files)


def compose(rows: BundleRows, store: ContentStore, arch: Arch, *, site: str) -> StageSet:
    """Make the set for an architecture. The first time it reads all images that belong to no version, to hash them.

    Raises:
        BundleError: it holds nothing for this architecture (E-B050), or an image in it is not whole (E-BUNDLE-IMAGE).
        OSError: the manifest or a part of an image cannot be read.
    """
    bundle = rows.bundle
    if bundle.archs and arch.value not in bundle.archs:
        raise faults.missing_arch(arch.value, [site], 1, bundle.archs)
    targets = [(target, _custom(target)) for target in rows.targets]
    fits = [(target, custom) for target, custom in targets if custom.arch in (None, arch)]
    sizes = {target.digest: target.size_bytes for target, _ in targets}
    files = [_blob(store, target, custom) for target, custom in fits if custom.kind in _FILES]
    archives: list[ArchiveRecipe] = []
    brought: list[Blob] = []
    for name, images in _image_sets(fits).items():
        release = _release(rows, name, arch)
        if release is not None and not release[0]:  # `release add` had brought an archive: bootstrap takes that one
            brought += _release_images(rows, store, name, arch)
            continue
        archives.append(_recipe(store, images, arch, sizes, release))
    wanted = {part.digest for archive in archives for part in archive.slices}
    layers = {target.digest: _blob(store, target, custom) for target, custom in targets if target.digest in wanted}
    return StageSet(bundle.name, (*files, *brought), tuple(archives), layers)


def _custom(target: BundleTarget) -> TargetCustom:
    return TargetCustom.model_validate(target.custom, strict=False)


def _blob(store: ContentStore, target: BundleTarget, custom: TargetCustom) -> Blob:
    chunks = custom.chunks if custom.chunk_bytes == CHUNK_BYTES else ()
    return Blob(target.digest, target.size_bytes, store.path(target.digest), chunks)


def _image_sets(targets: Sequence[tuple[BundleTarget, TargetCustom]]) -> dict[str, list[StoredImage]]:
    """`k3s-VERSION` or `extra` → its images, in the order of the names of their targets."""
    found: dict[str, list[StoredImage]] = {}
    for target, custom in targets:
        if custom.kind is TargetKind.IMAGE:
            image = StoredImage(custom.ref or "", target.digest, custom.media_type or "")
            found.setdefault(target.name.split("/")[1], []).append(image)
    return found


def _release(rows: BundleRows, name: str, arch: Arch) -> tuple[str, int] | None:
    """Digest and size of the archive that was made of these images when the bundle was taken in."""
    for release in rows.releases:
        if (f"k3s-{release.version}", release.arch) == (name, arch.value):
            return release.archive_digest, release.archive_bytes
    return None


def _release_images(rows: BundleRows, store: ContentStore, name: str, arch: Arch) -> Iterator[Blob]:
    for file in rows.files:
        if (f"k3s-{file.version}", file.arch, file.part) == (name, arch.value, Part.IMAGES.value):
            yield Blob(file.digest, file.size_bytes, store.path(file.digest))


def _recipe(
    store: ContentStore,
    images: Sequence[StoredImage],
    arch: Arch,
    sizes: Mapping[str, int],
    release: tuple[str, int] | None,
) -> ArchiveRecipe:
    parts = _joined(archive_parts(store, images, arch, sizes))
    if release is None:  # images of no version: nobody had a use for an archive of them before
        size = sum(part.size_bytes if isinstance(part, Slice) else len(part) for part in parts)
        with _digest_guard:  # of many sites at once one reads gigabytes, and the others take what it found
            return ArchiveRecipe(_digest_of(parts, store.path(images[0].manifest).parent), size, parts)
    return ArchiveRecipe(*release, parts)


def _joined(parts: Iterator[bytes | Slice]) -> tuple[bytes | Slice, ...]:
    """The same with literal bytes that follow each other as one."""
    found: list[bytes | Slice] = []
    for part in parts:
        if isinstance(part, bytes) and found and isinstance(found[-1], bytes):
            found[-1] += part
        elif part:
            found.append(part)
    return tuple(found)


@lru_cache(maxsize=16)  # thousands of sites get the same archive
def _digest_of(parts: tuple[bytes | Slice, ...], directory: Path) -> str:
    whole = hashlib.sha256()
    for part in parts:
        if isinstance(part, bytes):
            whole.update(part)
            continue
        with (directory / part.digest).open("rb") as file:
            while block := file.read(1 << 20):
                whole.update(block)
    return whole.hexdigest()


def _sizes(blobs: Mapping[str, Blob]) -> dict[str, int]:
    return {digest: blob.size_bytes for digest, blob in blobs.items()}
