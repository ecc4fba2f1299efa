"""A site's stage as it is shown: how far it has come, how fast it goes, and when it will probably be done."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from edgemgr.model.operation import OPEN_STATES, OperationState
from edgemgr.model.throughput import Eta
from edgemgr.model.transfer_scope import SiteParts, scope_of
from edgemgr.store.database import Session
from edgemgr.store.stages import StageRow, latest, parts_of_all
from edgemgr.store.transfer_rules import limits

_OPEN = frozenset(state.value for state in OPEN_STATES)


@dataclass(frozen=True)
class StageItem:
    """One site. What is not known yet is None."""

    site: str
    bundle: str
    state: str  #: of the operation
    waiting_for: str
    total_bytes: int | None  #: of everything that the site is to hold of the bundle
    done_bytes: int | None  #: of these the node has
    rate_bytes_s: float | None  #: as it was learnt from all that was ever sent to this site
    limit_bytes_s: int | None  #: the tightest limit of which the site is a part
    soon_s: float | None  #: so long the rest takes, without times in which the link is down or the window closed:
    eta_s: float | None  #: at the earliest, likely, and at the latest in four of five cases
    late_s: float | None
    operation_id: int | None
    message: str
    updated_at: datetime | None  #: when bytes were last counted

    @property
    def percent(self) -> int | None:
        """How much of it is there, rounded down."""
        if self.total_bytes is None or self.done_bytes is None:
            return None
        return 100 if not self.total_bytes else 100 * self.done_bytes // self.total_bytes


def stage_items(session: Session, site_ids: list[int]) -> list[StageItem]:
    """The latest stage of each of these sites, in the order of their names; those never staged are left out."""
    rates = limits(session)
    parts = parts_of_all(session, site_ids)
    return [_item(row, tightest(rates, parts[row.site_id])) for row in latest(session, site_ids)]


def tightest(rates: dict[str, int], parts: SiteParts) -> int | None:
    """The smallest of the limits that hold for a site; None where there is none."""
    scopes = [scope for part in parts.names if (scope := scope_of(part, rates)) is not None]
    return min((rates[scope] for scope in scopes), default=None)


def _item(row: StageRow, limit: int | None) -> StageItem:
    operation, transfer = row.operation, row.transfer
    bundle = operation.params["bundle"] if operation is not None else transfer.bundle if transfer else ""
    state = operation.state if operation is not None else ""
    counted = transfer if transfer is not None and transfer.bundle == bundle else None
    throughput = transfer.throughput if transfer is not None else None
    eta: Eta | None = None
    if counted is not None and throughput is not None and state in _OPEN:
        eta = throughput.eta(counted.remaining_bytes, cap_bytes_s=limit)
    return StageItem(
        site=row.site,
        bundle=bundle,
        state=state,
        waiting_for=operation.waiting_for if operation is not None and state == OperationState.QUEUED.value else "",
        total_bytes=counted.total_bytes if counted else None,
        done_bytes=counted.total_bytes - counted.remaining_bytes if counted else None,
        rate_bytes_s=throughput.rate_bytes_s if throughput else None,
        limit_bytes_s=limit,
        soon_s=eta.soon_s if eta else None,
        eta_s=eta.likely_s if eta else None,
        late_s=eta.late_s if eta else None,
        operation_id=operation.id if operation is not None else None,
        message=operation.message if operation is not None else "",
        updated_at=counted.updated_at if counted else None,
    )
