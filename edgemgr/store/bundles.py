"""Reads and writes of the bundles that were taken in."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import exists
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, delete, select

from edgemgr.errors import NotFoundError
from edgemgr.model.bundle import Bundle, BundleRelease, BundleState, BundleTarget
from edgemgr.model.bundle_name import BundleName
from edgemgr.model.content import TargetKind
from edgemgr.model.release_file import ReleaseFile
from edgemgr.store.queries import in_chunks

#: A bundle's content: digest → size in bytes.
Blobs = dict[str, int]


def find(session: Session, name: BundleName) -> Bundle | None:
    """The bundle of that name, taken in or being so; None when there is none."""
    return session.exec(
        select(Bundle).where(
            Bundle.product == name.product, Bundle.channel == name.channel, Bundle.number == name.number
        )
    ).one_or_none()


def find_same(session: Session, targets_digest: str) -> Bundle | None:
    """The bundle with exactly these signed targets; None when there is none."""
    return session.exec(select(Bundle).where(Bundle.targets_digest == targets_digest)).first()


def get(session: Session, name: BundleName) -> Bundle:
    """The bundle of that name.

    Raises:
        NotFoundError: there is none (E-BUNDLE-UNKNOWN).
    """
    bundle = find(session, name)
    if bundle is None:
        known = ", ".join(each.name for each in all_bundles(session)[:10]) or "none"
        raise NotFoundError(
            f"there is no bundle {name} on this appliance (known: {known})",
            hint="`edgemgr bundle list` shows what is there; `edgemgr bundle import FILE` takes one in.",
            code="E-BUNDLE-UNKNOWN",
        )
    return bundle


def all_bundles(session: Session) -> Sequence[Bundle]:
    """Every bundle; of each product and channel the newest first."""
    return session.exec(
        select(Bundle).order_by(col(Bundle.product), col(Bundle.channel), col(Bundle.number).desc())
    ).all()


def put(session: Session, bundle: Bundle, targets: Sequence[BundleTarget]) -> None:
    """Make known a bundle whose content is going to be taken in; an unfinished one of the same name gives way."""
    known = find(session, BundleName(bundle.product, bundle.channel, bundle.number))
    if known is not None:
        drop(session, known)
    session.add(bundle)
    session.flush()
    for target in targets:
        target.bundle_id = bundle.id or 0
    session.add_all(targets)


def drop(session: Session, bundle: Bundle) -> None:
    """Forget a bundle; what it held is forgotten with it."""
    # By hand, in order: not every database that was made by an older version cascades.
    for table in (BundleTarget, BundleRelease):
        session.exec(delete(table).where(col(table.bundle_id) == bundle.id))
    session.delete(bundle)
    session.flush()


def targets_of(session: Session, bundle_id: int) -> Sequence[BundleTarget]:
    """Every signed file of a bundle, by name."""
    return session.exec(
        select(BundleTarget).where(BundleTarget.bundle_id == bundle_id).order_by(col(BundleTarget.name))
    ).all()


def releases_of(session: Session, bundle_id: int) -> Sequence[BundleRelease]:
    """The k3s versions that a bundle holds whole."""
    return session.exec(
        select(BundleRelease)
        .where(BundleRelease.bundle_id == bundle_id)
        .order_by(col(BundleRelease.version), col(BundleRelease.arch))
    ).all()


def archive_of(session: Session, version: str, arch: str) -> BundleRelease | None:
    """A finished bundle's record of the image archive that was made here for a version, if one was."""
    return session.exec(
        select(BundleRelease)
        .join(Bundle, col(Bundle.id) == col(BundleRelease.bundle_id))
        .where(
            BundleRelease.version == version,
            BundleRelease.arch == arch,
            BundleRelease.archive_digest != "",
            Bundle.state == BundleState.IMPORTED,
        )
        .limit(1)
    ).first()


def image_names(session: Session, archive_digest: str) -> list[str]:
    """The full names of the images in an archive that was made here; none where `release add` brought it."""
    release = session.exec(
        select(BundleRelease)
        .where(BundleRelease.archive_digest == archive_digest)
        .order_by(col(BundleRelease.bundle_id))
        .limit(1)
    ).first()
    if release is None:
        return []
    found = session.exec(
        select(BundleTarget.custom).where(
            BundleTarget.bundle_id == release.bundle_id,
            BundleTarget.kind == TargetKind.IMAGE.value,
            col(BundleTarget.name).startswith(f"images/k3s-{release.version}/{release.arch}/", autoescape=True),
        )
    )
    return sorted(custom["ref"] for custom in found)


def blobs_only_of(session: Session, bundle_id: int) -> Blobs:
    """What nobody would need if this bundle were gone: no other bundle and no release holds these digests."""
    other, other_release, file = aliased(BundleTarget), aliased(BundleRelease), aliased(ReleaseFile)
    mine = (
        (BundleTarget, col(BundleTarget.digest), col(BundleTarget.size_bytes)),
        (BundleRelease, col(BundleRelease.archive_digest), col(BundleRelease.archive_bytes)),
    )
    found: Blobs = {}
    for table, digest, size in mine:
        rows = session.exec(
            select(digest, size)
            .where(
                col(table.bundle_id) == bundle_id,
                digest != "",
                ~exists().where(col(other.digest) == digest, col(other.bundle_id) != bundle_id),
                ~exists().where(col(other_release.archive_digest) == digest, col(other_release.bundle_id) != bundle_id),
                ~exists().where(col(file.digest) == digest),
            )
            .distinct()
        )
        found.update(rows.all())
    return found


def held(session: Session, digests: Collection[str]) -> set[str]:
    """Which of these digests some bundle or release holds."""
    found: set[str] = set()
    for digest in (col(BundleTarget.digest), col(BundleRelease.archive_digest), col(ReleaseFile.digest)):
        for part in in_chunks(sorted(digests)):
            found.update(session.exec(select(digest).where(digest.in_(part)).distinct()).all())
    return found


def releases_only_of(session: Session, bundle_id: int) -> Sequence[BundleRelease]:
    """The k3s versions that sites could no longer be given if this bundle were gone.

    Not those that another finished bundle holds too, nor those whose release files `release add` brought.
    """
    other, other_bundle, file = aliased(BundleRelease), aliased(Bundle), aliased(ReleaseFile)
    return session.exec(
        select(BundleRelease).where(
            BundleRelease.bundle_id == bundle_id,
            exists().where(
                col(file.version) == BundleRelease.version,
                col(file.arch) == BundleRelease.arch,
                col(file.digest) == BundleRelease.archive_digest,
            ),
            ~exists().where(
                col(other.version) == BundleRelease.version,
                col(other.arch) == BundleRelease.arch,
                col(other.archive_digest) == BundleRelease.archive_digest,
                col(other.bundle_id) == other_bundle.id,
                col(other_bundle.id) != bundle_id,
                col(other_bundle.state) == BundleState.IMPORTED,
            ),
        )
    ).all()


def forget_release_files(session: Session, releases: Collection[BundleRelease]) -> None:
    """Take away the release files that came by a bundle."""
    for release in releases:
        session.exec(
            delete(ReleaseFile).where(
                col(ReleaseFile.version) == release.version, col(ReleaseFile.arch) == release.arch
            )
        )
