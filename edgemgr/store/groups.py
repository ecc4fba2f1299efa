"""Writes and reads of Group: selectors that were given a name."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlmodel import Session, col, select

from edgemgr.errors import ConflictError, NotFoundError
from edgemgr.model.event import Reason
from edgemgr.model.site import Group
from edgemgr.store import events


def create(session: Session, name: str, selector: str, *, trust_first_use_until: datetime | None, actor: str) -> Group:
    """Save a selector that was checked before.

    Raises:
        ConflictError: there is a group of this name.
    """
    if session.get(Group, name) is not None:
        raise ConflictError(
            f"there is a group {name} already",
            hint=f"Choose another name, or `edgemgr group delete {name}` first.",
            code="E-GROUP-EXISTS",
        )
    group = Group(name=name, selector=selector, trust_first_use_until=trust_first_use_until)
    session.add(group)
    first_use = f", trusts first use until {trust_first_use_until:%Y-%m-%d %H:%M} UTC" if trust_first_use_until else ""
    events.record(
        session,
        Reason.GROUP_CHANGED,
        f"group {name} was created: {selector or 'every site'}{first_use}",
        actor=actor,
        warning=trust_first_use_until is not None,
    )
    return group


def remove(session: Session, name: str, *, actor: str) -> None:
    """Forget a group; its sites stay as they are.

    Raises:
        NotFoundError: there is none of this name.
    """
    group = session.get(Group, name)
    if group is None:
        raise NotFoundError(f"there is no group {name!r}", hint="See `edgemgr group list`.", code="E-GROUP-UNKNOWN")
    session.delete(group)
    events.record(session, Reason.GROUP_CHANGED, f"group {name} was deleted", actor=actor)


def every(session: Session) -> Sequence[Group]:
    """List all groups in the order of their names."""
    return session.exec(select(Group).order_by(col(Group.name))).all()
