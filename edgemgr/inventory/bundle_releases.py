"""k3s versions that a bundle holds whole → release files, so that `edgemgr bootstrap` can use them at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from edgemgr.bundles.content import Content, Target
from edgemgr.errors import BundleError
from edgemgr.inventory.content_store import ContentStore, Stored
from edgemgr.inventory.image_archive import StoredImage, image_archive
from edgemgr.model.bundle import BundleRelease
from edgemgr.model.content import TargetKind
from edgemgr.model.release import RULES, Arch, Packing, Part, image_archive_name
from edgemgr.model.release_file import ReleaseFile
from edgemgr.store import bundles, releases
from edgemgr.store.database import Session


@dataclass(frozen=True)
class HeldRelease:
    """Program and images of one k3s version for one architecture."""

    version: str
    arch: Arch
    binary: Target
    images: tuple[Target, ...]


@dataclass(frozen=True)
class PlannedRelease:
    """What is to be done for it."""

    held: HeldRelease
    made_before: Stored | None = None  #: the archive that another bundle made needed already
    brought: bool = False  #: `release add` brought this version with an archive of its own


def held_releases(content: Content) -> list[HeldRelease]:
    """The versions that a bundle holds whole; a program without its images is none."""
    found = []
    for target in content.targets.values():
        custom = target.custom
        if custom.kind is not TargetKind.K3S_BINARY or custom.k3s_version is None or custom.arch is None:
            continue
        beginning = f"images/k3s-{custom.k3s_version}/{custom.arch}/"
        images = tuple(
            each
            for name, each in content.targets.items()
            if each.custom.kind is TargetKind.IMAGE and name.startswith(beginning)
        )
        if images:
            found.append(HeldRelease(custom.k3s_version, custom.arch, target, images))
    return found


def plan_releases(session: Session, content: Content, store: ContentStore) -> list[PlannedRelease]:
    """Look what is known of the versions in a bundle.

    Raises:
        BundleError: this appliance has another program under the same version (E-BUNDLE-RELEASE).
    """
    known = {(file.version, file.arch, file.part): file for file in releases.all_files(session)}
    planned = []
    for held in held_releases(content):
        binary = known.get((held.version, held.arch.value, Part.BINARY.value))
        if binary is not None and binary.digest != held.binary.digest:
            raise _other_program(held, binary.digest)
        images = known.get((held.version, held.arch.value, Part.IMAGES.value))
        made = bundles.archive_of(session, held.version, held.arch.value)
        if images is not None and (made is None or made.archive_digest != images.digest):
            planned.append(PlannedRelease(held, brought=True))
        elif made is not None and store.has(made.archive_digest, made.archive_bytes):
            planned.append(PlannedRelease(held, made_before=Stored(made.archive_digest, made.archive_bytes)))
        else:
            planned.append(PlannedRelease(held))
    return planned


def make_archive(
    store: ContentStore,
    planned: PlannedRelease,
    blobs: Mapping[str, int],
    on_bytes: Callable[[int, int], None],
) -> Stored | None:
    """The image archive of a version, made now unless it is there; None where `release add` brought one.

    Raises:
        BundleError: an image is not whole (E-BUNDLE-IMAGE).
        OSError: the disk is full or cannot be written.
    """
    if planned.brought or planned.made_before:
        return planned.made_before
    images = [
        StoredImage(target.custom.ref or "", target.digest, target.custom.media_type or "")
        for target in planned.held.images
    ]
    return store.take(_told(image_archive(store, images, planned.held.arch, blobs), on_bytes))


def _told(chunks: Iterator[bytes], on_bytes: Callable[[int, int], None]) -> Iterator[bytes]:
    done = 0
    for chunk in chunks:
        yield chunk
        done += len(chunk)
        on_bytes(done, 0)


def bundle_release(bundle_id: int, planned: PlannedRelease, archive: Stored | None) -> BundleRelease:
    """The record that a bundle holds this version."""
    return BundleRelease(
        bundle_id=bundle_id,
        version=planned.held.version,
        arch=planned.held.arch.value,
        archive_digest=archive.digest if archive else "",
        archive_bytes=archive.size_bytes if archive else 0,
    )


def release_files(planned: PlannedRelease, archive: Stored) -> list[ReleaseFile]:
    """The two files that bootstrap sends."""
    held = planned.held
    files = (
        (Part.BINARY, RULES[held.arch].binary, held.binary.digest, held.binary.size_bytes),
        (Part.IMAGES, image_archive_name(held.arch, Packing.TAR), archive.digest, archive.size_bytes),
    )
    return [
        ReleaseFile(
            version=held.version, arch=held.arch.value, part=part.value, name=name, digest=digest, size_bytes=size
        )
        for part, name, digest, size in files
    ]


def _other_program(held: HeldRelease, digest: str) -> BundleError:
    return BundleError(
        f"this appliance has another program as k3s {held.version} for {held.arch}: sha256:{digest}, "
        f"the bundle brings sha256:{held.binary.digest}",
        hint="One of them is not what k3s published: compare both with the published list of hashes.",
        code="E-BUNDLE-RELEASE",
    )
