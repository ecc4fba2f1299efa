"""All writes of Site and SiteLabel, each with the events that tell of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, insert, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from edgemgr.errors import ConflictError
from edgemgr.model.event import Event, EventType, Reason
from edgemgr.model.operation import Operation, OperationState
from edgemgr.model.site import Site, SiteLabel
from edgemgr.model.site_change import NewSite, SiteChange
from edgemgr.model.timestamp import utc_now
from edgemgr.store import secrets
from edgemgr.store.queries import in_chunks
from edgemgr.store.secrets import Sealer


def create(session: Session, vault: Sealer, sites: Sequence[NewSite], *, actor: str) -> list[int]:
    """Make sites with their labels and secrets; returns their ids in the order given.

    Raises:
        ConflictError: a name exists already: another command was quicker (E-SITE-EXISTS).
    """
    ids: list[int] = []
    for part in in_chunks(sites):
        now = utc_now()
        rows = [{**site.values, "created_at": now, "updated_at": now} for site in part]
        numbered = list(zip(_insert(session, rows), part, strict=True))
        labels = [
            {"site_id": site_id, "key": key, "value": value}
            for site_id, site in numbered
            for key, value in site.labels.items()
        ]
        if labels:
            session.execute(insert(SiteLabel), labels)
        secrets.put_new(
            session,
            vault,
            [(site_id, name, secret) for site_id, site in numbered for name, secret in site.secrets.items()],
        )
        _record(
            session,
            Reason.SITE_CREATED,
            [(site_id, site.values["name"], _creation(site)) for site_id, site in numbered],
            actor=actor,
        )
        ids += [site_id for site_id, _ in numbered]
    return ids


def change(session: Session, vault: Sealer, changes: Sequence[SiteChange], *, actor: str) -> None:
    """Write changes; each site must exist."""
    for part in in_chunks(changes):
        now = utc_now()
        for attributes in {tuple(sorted(item.values)) for item in part}:
            rows = [
                {"id": item.site_id, "updated_at": now, **item.values}
                for item in part
                if tuple(sorted(item.values)) == attributes
            ]
            session.execute(update(Site), rows)
        _change_labels(session, part)
        for item in part:
            for name, secret in item.secrets.items():
                secrets.put(session, vault, item.site_id, name, secret)
        _record(session, Reason.SITE_CHANGED, [(item.site_id, item.name, item.summary) for item in part], actor=actor)
        pinned = [
            (item.site_id, item.name, f"host key {item.pins} was pinned by the inventory") for item in part if item.pins
        ]
        _record(session, Reason.HOST_KEY_PINNED, pinned, actor=actor)


def remove(session: Session, site_ids: Sequence[int], *, actor: str) -> None:
    """Delete sites with all that belongs to them; only their events stay.

    Raises:
        ConflictError: an operation of one of them is running; nothing is deleted then.
    """
    for part in in_chunks(site_ids):
        locked = select(Site.id, Site.name).where(col(Site.id).in_(part)).order_by(col(Site.id)).with_for_update()
        sites = session.exec(locked).all()
        running = session.exec(
            select(Site.name, Operation.kind)
            .join(Operation)
            .where(col(Site.id).in_(part), col(Operation.state) == OperationState.RUNNING.value)
        ).all()
        if running:
            shown = ", ".join(f"{name} ({kind})" for name, kind in running[:10])
            raise ConflictError(
                f"operations are running on sites that are to be deleted: {shown}",
                hint="Wait for them, or cancel them with `edgemgr operation cancel`.",
            )
        _record(
            session,
            Reason.SITE_DELETED,
            [(site_id or 0, name, f"site {name} was deleted") for site_id, name in sites],
            actor=actor,
        )
        session.execute(delete(Site).where(col(Site.id).in_(part)))


def _insert(session: Session, rows: list[dict[str, Any]]) -> list[int]:
    try:
        made = session.execute(insert(Site).returning(col(Site.id), sort_by_parameter_order=True), rows)
    except IntegrityError as exc:
        raise ConflictError(
            "another command made a site of the same name at this moment; nothing was changed",
            hint="Repeat the command: it will see that site.",
            code="E-SITE-EXISTS",
        ) from exc
    return [number for number in made.scalars() if number is not None]


def _creation(site: NewSite) -> str:
    fingerprint = site.values.get("host_key_fingerprint")
    pinned = f", host key {fingerprint} pinned" if fingerprint else ""
    return f"site {site.values['name']} at {site.values['address']}:{site.values['port']} was created{pinned}"


def _change_labels(session: Session, changes: Sequence[SiteChange]) -> None:
    touched: dict[str, list[int]] = {}
    for item in changes:
        for key in item.labels:
            touched.setdefault(key, []).append(item.site_id)
    for key, site_ids in touched.items():
        session.execute(delete(SiteLabel).where(col(SiteLabel.key) == key, col(SiteLabel.site_id).in_(site_ids)))
    rows = [
        {"site_id": item.site_id, "key": key, "value": value}
        for item in changes
        for key, value in item.labels.items()
        if value is not None
    ]
    if rows:
        session.execute(insert(SiteLabel), rows)


def _record(session: Session, reason: Reason, happened: Sequence[tuple[int, str, str]], *, actor: str) -> None:
    """Write many events in one statement; `happened` holds site id, site name and message."""
    if not happened:
        return
    now = utc_now()
    session.execute(
        insert(Event),
        [
            {
                "at": now,
                "type": EventType.NORMAL.value,
                "reason": reason.value,
                "message": message,
                "actor": actor,
                "site_id": site_id,
                "site_name": name,
            }
            for site_id, name, message in happened
        ],
    )
