"""Sites whose next operation waits for contact, read and written in few statements however many there are."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, bindparam, case, func, literal, select, update
from sqlmodel import Session, col

from edgemgr.model.cluster import Cluster, Reachability
from edgemgr.model.operation import TRANSFER_KINDS, Operation, OperationKind, WaitingFor
from edgemgr.model.site import DEFAULT_PORT, Site, Trust
from edgemgr.store.open_operations import HEAD, HEAD_BY_SITE, QUEUED, QUEUED_BY_SITE
from edgemgr.store.queries import in_chunks
from edgemgr.store.zones import served_by

_CONTACT = col(Operation.waiting_for) == literal(WaitingFor.CONTACT.value, literal_execute=True)
#: The next operation of a site, and it waits for contact.
_OWING = HEAD & QUEUED & _CONTACT
#: Any prime below 2 ** 16: sums of squares modulo it tell sets of the same size and sum apart.
_PRIME = 65521


@dataclass(frozen=True, slots=True)
class Contact:
    """Where a site that owes something can be tried without a login, and what is known of it."""

    site_id: int
    name: str
    address: str  #: the jump host's where there is one: the site behind it cannot be tried without a login
    port: int
    pin: str | None  #: public key line or fingerprint that must answer there; None: nothing is pinned yet
    is_jump: bool
    since: datetime  #: it is away at most since then: last contact, or the operation's beginning
    unreached: int  #: attempts in a row that did not reach it
    code: str  #: how the last one ended
    reachability: str | None
    reason: str


@dataclass(frozen=True)
class Finding:
    """Why a site cannot be reached, as its operations tell it to people."""

    site_id: int
    code: str
    message: str


def owing_mark(session: Session) -> tuple[int, ...]:
    """Something cheap that changes when `owing_sites` changes: one walk of an index, no row of a table."""
    number = col(Operation.id)
    query = select(func.count(), func.sum(number), func.sum(number % _PRIME * (number % _PRIME))).where(_OWING)
    return tuple(int(value or 0) for value in session.execute(query).one())


def owing_sites(session: Session, zones: Sequence[str]) -> list[int]:
    """Sites of these zones whose next operation waits for contact.

    Not those that showed another host key: nothing but an operator's word helps them.
    """
    query = (
        select(col(Operation.site_id))
        .join(Site, col(Site.id) == col(Operation.site_id))
        .where(_OWING, col(Site.trust) != Trust.MISMATCH.value, *served_by(zones))
    )
    return list(session.execute(query).scalars())


def contacts_of(session: Session, site_ids: Sequence[int]) -> list[Contact]:
    """How to try these sites; those that owe nothing any more are left out."""
    found: list[Contact] = []
    for part in in_chunks(site_ids):
        found += itertools.starmap(Contact, session.execute(_CONTACTS, {"site_ids": part}))
    return found


_IS_JUMP = col(Site.jump_address).is_not(None)
#: The fields of `Contact` in their order. Built once: it is asked several times a second, and putting a statement
#: together costs more than reading thirty sites.
_CONTACTS: Select[*tuple[Any, ...]] = (
    select(
        col(Site.id),
        col(Site.name),
        func.coalesce(col(Site.jump_address), col(Site.address)),
        case((_IS_JUMP, func.coalesce(col(Site.jump_port), DEFAULT_PORT)), else_=col(Site.port)),
        case(
            (_IS_JUMP, col(Site.jump_host_key)),
            else_=func.coalesce(col(Site.host_key), col(Site.host_key_fingerprint)),
        ),
        _IS_JUMP,
        case(
            (col(Cluster.contact_at) > col(Operation.created_at), col(Cluster.contact_at)),
            else_=col(Operation.created_at),
        ),
        col(Operation.unreached),
        col(Operation.code),
        col(Cluster.reachability),
        func.coalesce(col(Cluster.reachability_reason), ""),
    )
    .join(Site, col(Site.id) == col(Operation.site_id))
    .outerjoin(Cluster, col(Cluster.site_id) == col(Operation.site_id))
    .where(
        col(Operation.site_id).in_(bindparam("site_ids", expanding=True)),
        _OWING,
        col(Site.trust) != Trust.MISMATCH.value,
    )
    .with_hint(*HEAD_BY_SITE)
)


def note_findings(session: Session, findings: Sequence[Finding]) -> None:
    """Let operations that wait for contact say why. What is being changed at this moment is left as it is."""
    alike: dict[tuple[str, str], list[int]] = {}
    for finding in findings:
        alike.setdefault((finding.code, finding.message), []).append(finding.site_id)
    for (code, message), site_ids in alike.items():
        for part in in_chunks(site_ids):
            waiting = (
                select(col(Operation.id))
                .where(col(Operation.site_id).in_(part), QUEUED, _CONTACT)
                .with_hint(*QUEUED_BY_SITE)
                .with_for_update(skip_locked=True)
            )
            ids = session.execute(waiting).scalars().all()
            session.execute(
                update(Operation).where(col(Operation.id).in_(ids)).values(code=code, message=message, hint="")
            )


def stale_sites(session: Session, moment: datetime, *, limit: int) -> list[int]:
    """Sites with k3s that could be reached, were observed before `moment` and have nothing to do; oldest first."""
    here = col(Operation.site_id) == col(Cluster.site_id)
    # A transfer goes on for days, and gives way to the look; a look that waits for that is not asked for twice.
    busy = select(col(Operation.id)).where(here, HEAD, col(Operation.kind).not_in(TRANSFER_KINDS))
    asked = select(col(Operation.id)).where(here, QUEUED, col(Operation.kind) == OperationKind.PROBE.value)
    query = (
        select(col(Cluster.site_id))
        .where(
            col(Cluster.reachability) == Reachability.REACHABLE.value,
            col(Cluster.observed_at) < moment,
            col(Cluster.k3s_version).is_not(None),
            ~busy.exists(),
            ~asked.exists(),
        )
        .order_by(col(Cluster.observed_at))
        .limit(limit)
    )
    return list(session.execute(query).scalars())
