"""Bandwidth limits and transfer windows as they are shown: one line for each scope."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session

from edgemgr.model.transfer_scope import SiteParts, scope_of
from edgemgr.store import transfer_rules


@dataclass(frozen=True)
class RuleItem:
    """What holds for one scope."""

    scope: str
    limit_bytes_s: int | None
    window: str
    timezone: str
    open: bool | None  #: now; None without a window


def rule_items(session: Session, now: datetime) -> list[RuleItem]:
    """All of them, in the order of their scopes."""
    limits = transfer_rules.limits(session)
    rows = {row.scope: row for row in transfer_rules.window_rows(session)}
    windows = transfer_rules.windows(session)
    return [
        RuleItem(
            scope,
            limits.get(scope),
            rows[scope].hours if scope in rows else "",
            rows[scope].timezone if scope in rows else "",
            windows[scope].is_open(now) if scope in windows else None,
        )
        for scope in sorted({*limits, *rows})
    ]


def rules_for(items: Collection[RuleItem], parts: SiteParts) -> list[RuleItem]:
    """Those that hold for one site, with only what holds for it."""
    rates = {item.scope for item in items if item.limit_bytes_s is not None}
    limited = {scope_of(part, rates) for part in parts.names}
    windowed = parts.windows({item.scope for item in items if item.window})
    return [
        RuleItem(
            item.scope,
            item.limit_bytes_s if item.scope in limited else None,
            item.window if item.scope in windowed else "",
            item.timezone if item.scope in windowed else "",
            item.open if item.scope in windowed else None,
        )
        for item in items
        if item.scope in limited or item.scope in windowed
    ]
