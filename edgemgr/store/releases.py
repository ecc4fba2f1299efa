"""Reads and writes of the k3s release files that were added."""

from __future__ import annotations

from collections.abc import Sequence

from sqlmodel import Session, col, select

from edgemgr.errors import NotFoundError
from edgemgr.model.event import Reason
from edgemgr.model.release_file import ReleaseFile
from edgemgr.store import events


def add(session: Session, files: Sequence[ReleaseFile], *, actor: str) -> bool:
    """Make verified files known; returns False if all of them already were."""
    fresh = put(session, files)
    if fresh and files:
        arches = sorted({file.arch for file in files})
        events.record(
            session, Reason.RELEASE_ADDED, f"k3s {files[0].version} for {', '.join(arches)} was added", actor=actor
        )
    return fresh


def put(session: Session, files: Sequence[ReleaseFile]) -> bool:
    """Write the rows of verified files, without an event; returns False if all of them were there."""
    fresh = False
    for file in files:
        known = session.get(ReleaseFile, (file.version, file.arch, file.part))
        if known is None or known.digest != file.digest:
            session.merge(file)
            fresh = True
    return fresh


def files_of(session: Session, version: str) -> Sequence[ReleaseFile]:
    """The files of one version.

    Raises:
        NotFoundError: the version was never added.
    """
    files = session.exec(select(ReleaseFile).where(ReleaseFile.version == version)).all()
    if not files:
        known = ", ".join(sorted(set(session.exec(select(ReleaseFile.version)).all()))) or "none"
        raise NotFoundError(
            f"k3s release {version} was not added to this appliance (known: {known})",
            hint="Add its files with `edgemgr release add DIR`; `edgemgr release list` shows what is there.",
            code="E-RELEASE-UNKNOWN",
        )
    return files


def all_files(session: Session) -> Sequence[ReleaseFile]:
    """Every file, by version and architecture."""
    return session.exec(
        select(ReleaseFile).order_by(col(ReleaseFile.version), col(ReleaseFile.arch), col(ReleaseFile.part))
    ).all()
