"""The orders in which sites may be listed."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from sqlalchemy import ColumnElement, case
from sqlmodel import Session, col

from edgemgr.errors import UsageError
from edgemgr.model.cluster import Cluster, Health, Reachability, UpdateStatus
from edgemgr.model.site import Trust
from edgemgr.store.selectors import field_expression, observed_versions

#: Words are put in the order of their urgency, the worst first.
_WORST_FIRST = {
    "trust": (Trust.MISMATCH, Trust.SEEN, Trust.UNKNOWN, Trust.PINNED),
    "reachability": (Reachability.UNREACHABLE, Reachability.UNKNOWN, Reachability.REACHABLE),
    "health": (Health.FAILING, Health.DEGRADED, Health.UNKNOWN, Health.HEALTHY),
    "update": (UpdateStatus.OUT_OF_DATE, UpdateStatus.UPDATING, UpdateStatus.UNKNOWN, UpdateStatus.UP_TO_DATE),
}
_MOMENTS = {"observed": col(Cluster.observed_at), "contact": col(Cluster.contact_at)}

#: What a list may be sorted by; a minus sign before it turns the order round.
SORT_KEYS = ("name", "address", "profile", "arch", "k3s", *_MOMENTS, *_WORST_FIRST)


def order(session: Session, sort: str) -> ColumnElement[Any]:
    """Make an ORDER BY expression over Site outer-joined to Cluster.

    Versions are ordered by number, which SQL cannot do: their order is looked up here, now.

    Raises:
        UsageError: there is no such order.
    """
    key, is_descending = sort.removeprefix("-"), sort.startswith("-")
    if key not in SORT_KEYS:
        near = get_close_matches(key, SORT_KEYS, 1)
        raise UsageError(
            f"sites cannot be sorted by {key!r}",
            hint=f"{f'Did you mean {near[0]}? ' if near else ''}One of {', '.join(SORT_KEYS)}, or -KEY.",
            code="E-SITE-SORT",
        )
    if key in _MOMENTS:  # never comes before the oldest
        moment = _MOMENTS[key]
        return moment.desc().nulls_last() if is_descending else moment.asc().nulls_first()
    expression: ColumnElement[Any] = field_expression(key)
    if key in _WORST_FIRST:
        expression = case({word.value: place for place, word in enumerate(_WORST_FIRST[key])}, value=expression)
    if key == "k3s":
        versions = [text for text, _ in observed_versions(session)]
        expression = case({"": -1, **{text: place for place, text in enumerate(versions)}}, value=expression, else_=-1)
    return expression.desc() if is_descending else expression.asc()
