"""May a bundle of the appliance be given to sites now? Nothing is ever activated out of one that may not."""

from __future__ import annotations

from datetime import datetime

from edgemgr.bundles import faults
from edgemgr.errors import ConflictError
from edgemgr.model.bundle import Bundle, BundleState


def must_be_usable(bundle: Bundle, now: datetime) -> None:
    """Refuse a bundle that is not whole, or that has expired and was accepted by no administrator.

    Raises:
        ConflictError: it has not been taken in whole (E-BUNDLE-BUSY).
        BundleError: it has expired (E-B030).
    """
    if bundle.state != BundleState.IMPORTED.value:
        raise ConflictError(
            f"bundle {bundle.name} has not been taken in whole",
            hint="Run `edgemgr bundle import` with its file again: it goes on where it stopped.",
            code="E-BUNDLE-BUSY",
        )
    if bundle.expires_at <= now and not bundle.accepted_reason:
        raise faults.expired("bundle", bundle.expires_at, now)
