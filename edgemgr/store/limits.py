"""Limits: their rows, what runs now beside them, and the SQL that leaves out what they hold back."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from sqlalchemy import ColumnElement, and_, false, func, not_, or_
from sqlmodel import Session, col, select

from edgemgr.errors import NotFoundError, UsageError
from edgemgr.model.event import Reason
from edgemgr.model.limit import QueueLimit
from edgemgr.model.operation import Operation
from edgemgr.model.room import Room
from edgemgr.model.scope import Scope, ScopePart
from edgemgr.model.site import SiteLabel
from edgemgr.store import events
from edgemgr.store.open_operations import RUNNING


def every(session: Session) -> Sequence[QueueLimit]:
    """All limits that were set, in the order of their scopes."""
    return session.exec(select(QueueLimit).order_by(col(QueueLimit.scope))).all()


def put(session: Session, scope: Scope, most: int, *, actor: str) -> None:
    """Set or change a limit. It holds for what begins from now on; what runs goes on.

    Raises:
        UsageError: `most` is less than one.
    """
    if most < 1:
        raise UsageError(
            f"a limit of {most} for {scope} would let nothing run",
            hint="Write 1 or more; `edgemgr queue pause` holds sites back altogether.",
            code="E-LIMIT-NUMBER",
        )
    limit = session.get(QueueLimit, str(scope))
    before = limit.most if limit is not None else None
    if limit is None:
        session.add(QueueLimit(scope=str(scope), most=most))
    else:
        limit.most = most
    told = f"limit {scope}: {most}" + (f" instead of {before}" if before is not None else "")
    events.record(session, Reason.LIMIT_CHANGED, told, actor=actor)


def remove(session: Session, scope: Scope, *, actor: str) -> None:
    """Take a limit away.

    Raises:
        NotFoundError: there is no limit for this scope.
    """
    limit = session.get(QueueLimit, str(scope))
    if limit is None:
        near = get_close_matches(str(scope), [item.scope for item in every(session)], 1)
        raise NotFoundError(
            f"there is no limit for {scope}",
            hint=f"Did you mean {near[0]}?" if near else "See `edgemgr queue limit list`.",
            code="E-LIMIT-UNKNOWN",
        )
    session.delete(limit)
    events.record(session, Reason.LIMIT_CHANGED, f"limit {scope}: taken away, it was {limit.most}", actor=actor)


def near_label_keys(session: Session, key: str) -> list[str] | None:
    """None where some site has this label; otherwise the keys in use that are nearest to it."""
    if session.exec(select(SiteLabel.site_id).where(col(SiteLabel.key) == key).limit(1)).first() is not None:
        return None
    return get_close_matches(key, session.exec(select(SiteLabel.key).distinct()).all(), 2)


def room(session: Session, *, max_running: int, conditions: Sequence[ColumnElement[bool]] = ()) -> Room:
    """The limits, and what runs now counted against them: all of it, or what meets these conditions on Operation."""
    found = Room({limit.scope: limit.most for limit in every(session)}, max_running=max_running)
    by_kind = select(Operation.kind, func.count()).where(RUNNING, *conditions).group_by(col(Operation.kind))
    for kind, number in session.exec(by_kind):
        for bucket in found.buckets(kind, {}):
            found.take(bucket, number)
    if found.label_keys:
        by_value = (
            select(SiteLabel.key, SiteLabel.value, func.count())
            .join(Operation, col(Operation.site_id) == col(SiteLabel.site_id))
            .where(RUNNING, *conditions, col(SiteLabel.key).in_(found.label_keys))
            .group_by(col(SiteLabel.key), col(SiteLabel.value))
        )
        for key, value, number in session.exec(by_value):
            bucket = str(Scope(ScopePart.LABEL, key, value))
            if found.most(bucket) is not None:
                found.take(bucket, number)
    return found


def limited_labels(session: Session, site_ids: Sequence[int], room: Room) -> dict[int, dict[str, str]]:
    """Site → those of its labels that limits ask for."""
    labels: dict[int, dict[str, str]] = {}
    if room.label_keys and site_ids:
        rows = select(SiteLabel.site_id, SiteLabel.key, SiteLabel.value).where(
            col(SiteLabel.site_id).in_(list(site_ids)), col(SiteLabel.key).in_(room.label_keys)
        )
        for site_id, key, value in session.exec(rows):
            labels.setdefault(site_id, {})[key] = value
    return labels


def inside(scopes: Sequence[Scope]) -> ColumnElement[bool]:
    """Condition on Operation: it belongs to one of these kinds or values of labels."""
    return or_(false(), *_parts(scopes))


def outside_full(room: Room) -> list[ColumnElement[bool]]:
    """Conditions on Operation: nothing but its turn keeps it back. So no claim reads what a limit holds back."""
    return [not_(part) for part in _parts(room.full)]


def _parts(scopes: Sequence[Scope]) -> list[ColumnElement[bool]]:
    """A condition for all the kinds together, and one for all the values of labels."""
    kinds = [scope.key for scope in scopes if scope.part is ScopePart.KIND]
    values: dict[str, list[str]] = {}
    for scope in scopes:
        if scope.part is ScopePart.LABEL:
            values.setdefault(scope.key, []).append(scope.value)
    parts: list[ColumnElement[bool]] = []
    if kinds:
        parts.append(col(Operation.kind).in_(kinds))
    if values:
        wanted = or_(*(and_(col(SiteLabel.key) == key, col(SiteLabel.value).in_(some)) for key, some in values.items()))
        parts.append(col(Operation.site_id).in_(select(SiteLabel.site_id).where(wanted)))
    return parts
