"""The page of bundles: what the appliance holds, what is being uploaded, and whose bundles it takes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from edgemgr.bundles.roots import RootInfo
from edgemgr.bundles.trust import TrustStore
from edgemgr.errors import EdgemgrError
from edgemgr.inventory.bundle_upload import Upload, Uploads, UploadState
from edgemgr.settings import Settings
from edgemgr.store import bundles
from edgemgr.store.bundle_holdings import holder_counts
from edgemgr.store.bundle_item import BundleItem
from edgemgr.store.database import Session
from edgemgr.web.bundle_imports import BundleImports, Step
from edgemgr.web.console.transfers import FEW, Transfers, read_transfers
from edgemgr.web.faults import Fault

#: Uploads that ended and are still shown.
_ENDED_SHOWN = 5
KEY_SHOWN = 8


@dataclass(frozen=True)
class UploadLine:
    """One upload, with what its import does."""

    upload: Upload
    step: Step | None

    @property
    def is_open(self) -> bool:
        """Bytes or the import are missing."""
        return self.upload.state in (UploadState.RECEIVING, UploadState.RECEIVED)

    @property
    def words(self) -> str:
        """What happens to it now."""
        if self.step is not None:
            return {"content": "taking in its content", "waiting": "waits for its turn"}.get(
                self.step.what, self.step.what
            )
        return {
            UploadState.RECEIVING: "being sent, or broken off: choose the same file again",
            UploadState.RECEIVED: "waits for its import",
        }.get(self.upload.state, self.upload.message)

    @property
    def done(self) -> tuple[int, int]:
        """How far it is: bytes done and in all."""
        if self.step is not None and self.step.total:
            return self.step.done, self.step.total
        return self.upload.offset, self.upload.size_bytes


@dataclass(frozen=True)
class BundleList:
    """What the page shows."""

    items: list[BundleItem]
    uploads: list[UploadLine]
    roots: list[RootInfo]
    fault: Fault | None  #: why it is not known whose bundles are taken
    quota_bytes: int
    max_bytes: int
    holding: dict[str, int]  #: bundle → how many sites hold it
    transfers: Transfers


def read_bundles(session: Session, settings: Settings, imports: BundleImports, now: datetime) -> BundleList:
    """The bundles as they are now."""
    items = [BundleItem.of(bundle, now) for bundle in bundles.all_bundles(session)]
    lines = [UploadLine(upload, imports.step(upload.id)) for upload in Uploads(settings).all()]
    ended = [line for line in lines if not line.is_open][:_ENDED_SHOWN]
    roots, fault = [], None
    try:
        roots = TrustStore(settings.trust_dir).roots()
    except EdgemgrError as exc:
        fault = Fault.of(exc)
    return BundleList(
        items,
        [line for line in lines if line.is_open] + ended,
        roots,
        fault,
        settings.bundle_quota_mib << 20,
        settings.bundle_max_mib << 20,
        holder_counts(session),
        read_transfers(session, now, limit=FEW),
    )
