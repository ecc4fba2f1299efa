"""A bundle as it is shown: the same fields on the command line, in the API and in the console."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from edgemgr.model.bundle import Bundle, BundleState


@dataclass(frozen=True)
class BundleItem:
    """A bundle as lists show it."""

    name: str  #: `PRODUCT/CHANNEL/NUMBER`
    product: str
    channel: str
    number: int
    title: str
    state: str
    k3s_versions: list[str]
    from_versions: list[str]
    archs: list[str]
    root: str  #: the root that stands behind its signatures
    key_ids: list[str]  #: of the keys that signed it
    digest: str  #: SHA-256 of the whole file
    size_bytes: int
    created_at: datetime
    expires_at: datetime
    expired: bool  #: at the moment of the list
    begun_at: datetime
    imported_at: datetime | None
    imported_by: str
    accepted_reason: str  #: why it was taken although it had expired

    @classmethod
    def of(cls, bundle: Bundle, now: datetime) -> BundleItem:
        """Take what is shown from the row."""
        return cls(
            name=bundle.name,
            product=bundle.product,
            channel=bundle.channel,
            number=bundle.number,
            title=bundle.title,
            state=BundleState(bundle.state).value,
            k3s_versions=list(bundle.k3s_versions),
            from_versions=list(bundle.from_versions),
            archs=list(bundle.archs),
            root=bundle.root_name,
            key_ids=list(bundle.key_ids),
            digest=bundle.digest,
            size_bytes=bundle.size_bytes,
            created_at=bundle.created_at,
            expires_at=bundle.expires_at,
            expired=bundle.expires_at <= now,
            begun_at=bundle.begun_at,
            imported_at=bundle.imported_at,
            imported_by=bundle.imported_by,
            accepted_reason=bundle.accepted_reason,
        )
