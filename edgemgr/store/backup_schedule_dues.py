"""Which sites are due for a backup by a schedule: found by indexes, however many profiles and however long the history.

A backup that an operator asked for counts like any other.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Select, false, func, literal, or_, select
from sqlmodel import Session, col

from edgemgr.model.cluster import Cluster, Reachability
from edgemgr.model.operation import OPEN_STATES, Operation, OperationKind, OperationState
from edgemgr.model.site import Site

#: Number of PostgreSQL's lock that rounds of backups take in turn.
_LOCK = 0x6261636B
#: A site that was just added is being set up: its first one is asked for later.
FIRST_AFTER_S = 3600.0
#: As the partial index writes it: a bound value would not find it.
_BACKUP = col(Operation.kind) == literal(OperationKind.BACKUP.value, literal_execute=True)


@dataclass(frozen=True)
class ScheduledSites:
    """Sites for which the same holds at this moment."""

    interval_s: float  #: due are those that were asked so long ago or longer
    profile: str | None = None  #: None: every site but those of `others`
    others: tuple[str, ...] = ()  #: profiles for which something else holds
    #: Only those of these time zones, with how long their hours last, in seconds; a None for all: at any time.
    lasts: Mapping[str | None, float | None] | None = None

    def left_s(self, zone: str | None) -> float | None:
        """How long one may be asked for in this time zone; None: there is no end of it."""
        return self.lasts.get(zone) if self.lasts else None


@dataclass(frozen=True)
class DueSite:
    """One that is due."""

    site_id: int
    timezone: str | None
    asked_at: datetime | None  #: when one was last asked for; None: never


def take_turn(session: Session) -> None:
    """Let nobody else look who is due until this transaction ends; on SQLite its one writer sees to that.

    Each zone's first worker looks, at all sites: without this, two would find the same ones and ask twice.
    """
    if session.connection().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(_LOCK)))


def zones_of(session: Session, profile: str) -> list[str | None]:
    """The time zones of the sites of a profile."""
    query = select(col(Site.timezone)).where(col(Site.profile) == profile).distinct()
    return list(session.execute(query).scalars())


def due_sites(session: Session, sites: ScheduledSites, *, now: datetime, limit: int) -> list[DueSite]:
    """Those with k3s that answer and are not paused, the longest waiting first."""
    return [DueSite(*row) for row in session.execute(due(sites, now).limit(limit))]


def due(sites: ScheduledSites, now: datetime) -> Select[*tuple[int, str | None, datetime | None]]:
    """The statement of `due_sites`, without its limit.

    One that expired before its turn came was none, and counts as never asked for: else a site whose turn always comes
    at the end of its hours would be passed over for ever. One that is under way is not asked for anew.
    """
    before = now - timedelta(seconds=sites.interval_s)
    added_before = now - timedelta(seconds=min(FIRST_AFTER_S, sites.interval_s))
    here = (col(Operation.site_id) == col(Cluster.site_id), _BACKUP)
    asked = select(col(Operation.created_at)).where(*here, col(Operation.state) != OperationState.EXPIRED.value)
    under_way = select(col(Operation.id)).where(*here, col(Operation.state).in_([state.value for state in OPEN_STATES]))
    asked_at = asked.order_by(col(Operation.created_at).desc()).limit(1).scalar_subquery().label("asked_at")
    return (
        select(col(Cluster.site_id), col(Site.timezone), asked_at)
        .join(Site, col(Site.id) == col(Cluster.site_id))
        .where(
            *_belongs(sites),
            col(Cluster.reachability) == Reachability.REACHABLE.value,
            col(Cluster.k3s_version).is_not(None),
            col(Site.created_at) < added_before,
            col(Site.paused_at).is_(None),
            ~asked.where(col(Operation.created_at) > before).exists(),
            ~under_way.exists(),
        )
        .order_by(asked_at.asc().nulls_first(), col(Cluster.site_id))
    )


def _belongs(sites: ScheduledSites) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if sites.profile is not None:
        found.append(col(Site.profile) == sites.profile)
    elif sites.others:
        found.append(or_(col(Site.profile).is_(None), col(Site.profile).not_in(sites.others)))
    if sites.lasts is not None:
        found.append(_in_zones(sites.lasts))
    return found


def _in_zones(zones: Collection[str | None]) -> ColumnElement[bool]:
    named = [zone for zone in zones if zone is not None]
    parts = [col(Site.timezone).in_(named)] if named else []
    return or_(false(), *parts, *([col(Site.timezone).is_(None)] if None in zones else []))
