"""The questions that `edgemgr operation list` can be asked, and all their combinations by two."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import combinations
from typing import Any

from edgemgr.model.attempt import Outcome
from edgemgr.model.operation import OPEN_STATES, OperationKind, OperationState, WaitingFor
from edgemgr.model.operation_filter import OperationFilter
from edgemgr.model.selector_text import parse_filter, parse_labels


def singles(last: datetime, newest_id: int) -> Mapping[str, Mapping[str, Any]]:
    """Name → the fields of a filter. Each kind of filter with a common value and, where it has one, a rare one."""
    return {
        "one site": {"site_ids": (7,)},
        "five sites": {"site_ids": (3, 7, 20, 33, 41)},
        "forty sites": {"site_ids": tuple(range(1, 41))},
        "-l region=emea": {"sites": parse_labels("region=emea")},
        "-l ring=canary": {"sites": parse_labels("ring=canary")},
        "--filter health=failing": {"sites": parse_filter("health=failing")},
        "--state succeeded": {"states": (OperationState.SUCCEEDED,)},
        "--state failed --state expired": {"states": (OperationState.FAILED, OperationState.EXPIRED)},
        "--open": {"states": tuple(OPEN_STATES)},
        "--kind probe": {"kinds": (OperationKind.PROBE,)},
        "--kind reset --kind bootstrap": {"kinds": (OperationKind.RESET, OperationKind.BOOTSTRAP)},
        "--waiting-for contact": {"waiting_for": WaitingFor.CONTACT},
        "--request r-1": {"request": "r-1"},
        "--request r-open": {"request": "r-open"},
        "--actor watch": {"actor": "watch"},
        "--actor ben": {"actor": "ben"},
        "--actor eve": {"actor": "eve"},
        "--actor nobody": {"actor": "nobody"},
        "--code E-COMMON": {"code": "E-COMMON"},
        "--code E-RARE": {"code": "E-RARE"},
        "--outcome failed": {"outcome": Outcome.FAILED},
        "--outcome lost": {"outcome": Outcome.LOST},
        "--since 2h": {"since": last - timedelta(hours=2)},
        "--since 30d": {"since": last - timedelta(days=30)},
        "--until 60d": {"until": last - timedelta(days=60)},
        "--ended-since 2h": {"ended_since": last - timedelta(hours=2)},
        "--ended-since 30d": {"ended_since": last - timedelta(days=30)},
        "--ended-until 60d": {"ended_until": last - timedelta(days=60)},
        "--due-before 1h": {"due_before": last + timedelta(hours=1)},
        "--before": {"before_id": newest_id // 2},
        "--after": {"after_id": newest_id // 2},
    }


def questions(last: datetime, newest_id: int) -> Iterator[tuple[str, OperationFilter]]:
    """Everything, each filter, and each two of them that do not set the same field."""
    found = singles(last, newest_id)
    yield "", OperationFilter()
    for name, fields in found.items():
        yield name, replace(OperationFilter(), **fields)
    for (name, fields), (other_name, others) in combinations(found.items(), 2):
        if not fields.keys() & others.keys():
            yield f"{name} {other_name}", replace(OperationFilter(), **fields, **others)
