"""The rule of the word `update`: what was asked for beside what was observed."""

from __future__ import annotations

from edgemgr.model.cluster import UpdateStatus
from edgemgr.model.operation import OperationKind

#: Kinds whose running operation makes a site *updating*; the others only look.
CHANGING_KINDS = (
    OperationKind.BOOTSTRAP,
    OperationKind.RESET,
    OperationKind.RESTORE,
    OperationKind.ROTATE_CERTIFICATES,
    OperationKind.ROTATE_TOKEN,
    OperationKind.TIDY,
    OperationKind.UPGRADE,
)


def update_status(*, wanted: str | None, observed: str | None, is_changing: bool) -> UpdateStatus:
    """Compare two k3s versions as they are written.

    Args:
        wanted: the version that an operator asked for.
        observed: the version that was last seen running.
        is_changing: an operation of a changing kind is running on the site.
    """
    if is_changing:
        return UpdateStatus.UPDATING
    if not wanted or not observed:
        return UpdateStatus.UNKNOWN
    return UpdateStatus.UP_TO_DATE if wanted == observed else UpdateStatus.OUT_OF_DATE
