"""Zones: which worker serves which site. A site's zone is its label `zone`."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, case, or_
from sqlmodel import col, select

from edgemgr.model.operation import Operation
from edgemgr.model.site import SiteLabel

LABEL = "zone"
#: What a worker is told to serve sites without that label.
DEFAULT = "default"


def served_by(zones: Sequence[str]) -> list[ColumnElement[bool]]:
    """Conditions on Operation: its site is served by a worker of these zones; none serves every site."""
    if not zones:
        return []
    labeled = select(SiteLabel.site_id).where(col(SiteLabel.key) == LABEL)
    inside = col(Operation.site_id).in_(labeled.where(col(SiteLabel.value).in_(list(zones))))
    if DEFAULT in zones:
        return [or_(inside, col(Operation.site_id).not_in(labeled))]
    # As a value, not as a condition: PostgreSQL would make a join of it, and without statistics a slow one.
    return [case((inside, 1), else_=0) == 1]
