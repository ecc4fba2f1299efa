"""Selector → SQL: the condition that picks the same sites in either database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, String, and_, case, exists, false, func, literal, not_, or_
from sqlmodel import Session, col, select

from edgemgr.errors import NotFoundError, ReleaseError
from edgemgr.model.cluster import Cluster, Health, Reachability, UpdateStatus
from edgemgr.model.operation import GOES_ON, Operation
from edgemgr.model.selector import Operator, Selector, Term
from edgemgr.model.selector_text import parse_filter
from edgemgr.model.site import Group, Site, SiteLabel
from edgemgr.model.update_status import CHANGING_KINDS
from edgemgr.model.version import K3sVersion
from edgemgr.model.version_bound import VersionBound
from edgemgr.store.open_operations import HEAD, RUNNING


def condition(session: Session, selector: Selector) -> ColumnElement[bool]:
    """Make a WHERE clause over Site outer-joined to Cluster.

    SQL cannot order versions and groups are kept as text, so both are looked up here, now.

    Raises:
        NotFoundError: the selector names a group that does not exist.
    """
    return and_(literal(value=True), *(_term(session, term) for term in selector.terms))


def update_expression() -> ColumnElement[Any]:
    """Tell the word `update` of a site in SQL, by the same rule as `model.update_status`."""
    is_changing = exists().where(
        col(Operation.site_id) == col(Site.id),
        HEAD,  # what runs is the head: its index finds it
        or_(RUNNING, col(Operation.code) == GOES_ON),
        col(Operation.kind).in_([kind.value for kind in CHANGING_KINDS]),
    )
    wanted, observed = func.coalesce(Site.k3s_version, ""), func.coalesce(Cluster.k3s_version, "")
    return case(
        (is_changing, UpdateStatus.UPDATING.value),
        (or_(wanted == "", observed == ""), UpdateStatus.UNKNOWN.value),
        (wanted == observed, UpdateStatus.UP_TO_DATE.value),
        else_=UpdateStatus.OUT_OF_DATE.value,
    )


def field_expression(name: str) -> ColumnElement[Any]:
    """Give the value that a site shows for a field; never NULL."""
    if name == "update":
        return update_expression()
    expressions: dict[str, Any] = {
        "name": col(Site.name),
        "address": col(Site.address),
        "user": col(Site.user),
        "trust": col(Site.trust),
        "reachability": func.coalesce(Cluster.reachability, Reachability.UNKNOWN.value),
        "health": func.coalesce(Cluster.health, Health.UNKNOWN.value),
        "k3s": func.coalesce(Cluster.k3s_version, ""),
        "profile": func.coalesce(Site.profile, ""),
        "arch": func.coalesce(Site.arch, Cluster.arch, ""),
        "timezone": func.coalesce(Site.timezone, ""),
        "paused": case((col(Site.paused_at).is_not(None), "yes"), else_="no"),
        "notes": func.coalesce(Site.notes, "", type_=String()),
    }
    found: ColumnElement[Any] = expressions[name]
    return found


def _term(session: Session, term: Term) -> ColumnElement[bool]:
    if term.is_label:
        return _label(term)
    if term.key == "group":
        return _group(session, term)
    if term.key == "port":
        return _number(term)
    expression = field_expression(term.key)
    if term.key == "k3s":
        return _version(session, term, expression)
    return _text(term, expression)


def _label(term: Term) -> ColumnElement[bool]:
    having = select(SiteLabel.site_id).where(col(SiteLabel.key) == term.key)
    if term.values:
        having = having.where(col(SiteLabel.value).in_(term.values))
    found = col(Site.id).in_(having)
    return not_(found) if term.operator in (Operator.NOT_IN, Operator.MISSING) else found


def _text(term: Term, expression: ColumnElement[str]) -> ColumnElement[bool]:
    match term.operator:
        case Operator.IN:
            return expression.in_(term.values)
        case Operator.NOT_IN:
            return expression.not_in(term.values)
        case Operator.CONTAINS:
            return or_(*(expression.icontains(value, autoescape=True) for value in term.values))
        case Operator.LACKS:
            return and_(*(not_(expression.icontains(value, autoescape=True)) for value in term.values))
        case Operator.EXISTS:
            return expression != ""
        case _:
            return expression == ""


def _number(term: Term) -> ColumnElement[bool]:
    numbers = [int(value) for value in term.values]
    port = col(Site.port)
    match term.operator:
        case Operator.IN:
            return port.in_(numbers)
        case Operator.NOT_IN:
            return port.not_in(numbers)
        case Operator.BELOW:
            return port < numbers[0]
        case Operator.AT_MOST:
            return port <= numbers[0]
        case Operator.ABOVE:
            return port > numbers[0]
        case _:
            return port >= numbers[0]


_HOLDS: dict[Operator, Callable[[int], bool]] = {
    Operator.BELOW: lambda order: order < 0,
    Operator.AT_MOST: lambda order: order <= 0,
    Operator.ABOVE: lambda order: order > 0,
    Operator.AT_LEAST: lambda order: order >= 0,
}


def _version(session: Session, term: Term, expression: ColumnElement[str]) -> ColumnElement[bool]:
    if term.operator in (Operator.EXISTS, Operator.MISSING):
        return _text(term, expression)
    holds = _HOLDS.get(term.operator, _is_within)
    bounds = [bound for value in term.values if (bound := VersionBound.parse(value))]
    matching = [
        text for text, version in observed_versions(session) if any(holds(bound.compare(version)) for bound in bounds)
    ]
    if "" in term.values:
        matching.append("")
    return expression.not_in(matching) if term.operator is Operator.NOT_IN else expression.in_(matching)


def _is_within(order: int) -> bool:
    return order == 0


def observed_versions(session: Session) -> list[tuple[str, K3sVersion]]:
    """List every version of k3s that some site shows, as written and as read, the oldest first."""
    found = []
    for text in session.exec(select(Cluster.k3s_version).distinct()):
        try:
            found.append((text or "", K3sVersion.parse(text or "")))
        except ReleaseError:
            continue  # a site may report anything; what is no version has no order
    return sorted(found, key=lambda pair: pair[1])


def _group(session: Session, term: Term) -> ColumnElement[bool]:
    groups = [condition(session, parse_filter(_group_text(session, name))) for name in term.values]
    if term.operator is Operator.IN:
        return or_(false(), *groups)
    return and_(literal(value=True), *(not_(group) for group in groups))


def _group_text(session: Session, name: str) -> str:
    group = session.get(Group, name)
    if group is None:
        raise NotFoundError(f"there is no group {name!r}", hint="See `edgemgr group list`.", code="E-GROUP-UNKNOWN")
    return group.selector
