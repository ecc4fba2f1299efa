"""One site as its page shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from edgemgr.errors import NotFoundError
from edgemgr.model.attempt import Attempt
from edgemgr.model.cluster import Cluster
from edgemgr.model.event import Event
from edgemgr.model.operation import TRANSFER_KINDS, Operation, OperationKind
from edgemgr.model.operation_filter import OperationFilter
from edgemgr.model.selector import Selector
from edgemgr.queue.identity import living
from edgemgr.settings import Settings
from edgemgr.store import events, history, operation_search, queries
from edgemgr.store.backup_schedule_item import schedule_text
from edgemgr.store.bundle_holdings import Holding, holdings_of
from edgemgr.store.database import Session
from edgemgr.store.queries import SiteRow
from edgemgr.store.stage_item import StageItem, stage_items
from edgemgr.store.stages import parts_of
from edgemgr.store.transfer_rule_item import RuleItem, rule_items, rules_for
from edgemgr.web.console.explanation import Explanation, explain
from edgemgr.web.console.facts import Fact, facts_of
from edgemgr.web.console.transfers import is_open

OPERATIONS_SHOWN = 15
EVENTS_SHOWN = 50
#: Probes and transfers have no playbook and therefore no log.
_KINDS_WITH_LOG = tuple(kind for kind in OperationKind if kind not in (OperationKind.PROBE, *TRANSFER_KINDS))
#: How far back the newest attempt is looked for.
_RECENT_OPERATIONS = 5


@dataclass(frozen=True)
class SiteView:
    """What a site is and why it is not moving."""

    row: SiteRow
    tried_at: datetime | None
    explanation: Explanation
    facts: list[Fact]
    holdings: list[Holding]  #: bundles whose content lies on the node, the newest first
    stage: StageItem | None  #: the one that is under way
    rules: list[RuleItem]  #: limits and windows that hold for its transfers
    backups: str  #: how often they are taken by themselves, and why


@dataclass(frozen=True)
class SiteHistory:
    """What was asked of a site and what happened there, the newest first."""

    operations: list[Operation]
    events: Sequence[Event]


@dataclass(frozen=True)
class LoggedAttempt:
    """An attempt with the operation it belongs to."""

    operation: Operation
    attempt: Attempt


def read_site(session: Session, settings: Settings, name: str, now: datetime) -> SiteView:
    """The site of this name.

    Raises:
        NotFoundError: there is none; the hint tells the nearest names.
    """
    site = queries.get_site(session, name)
    site_id = site.id or 0
    row = queries.list_sites(session, where=Selector.of_names(name), limit=1)[0][0]
    newest = newest_attempt(session, site_id)
    cluster = session.get(Cluster, site_id)
    explanation = explain(
        row,
        _newest_operations(session, site_id),
        newest.attempt if newest else None,
        has_worker=_anybody_works(session),
        now=now,
    )
    return SiteView(
        row=row,
        tried_at=cluster.tried_at if cluster else None,
        explanation=explanation,
        facts=facts_of(cluster, now) if cluster else [],
        holdings=holdings_of(session, site_id),
        stage=next((item for item in stage_items(session, [site_id]) if is_open(item)), None),
        rules=rules_for(rule_items(session, now), parts_of(session, site_id)),
        backups=schedule_text(session, row.profile, general_s=settings.backup_interval_s),
    )


def read_history(session: Session, name: str) -> SiteHistory:
    """The history of the site of this name.

    Raises:
        NotFoundError: there is none.
    """
    site_id = queries.get_site(session, name).id or 0
    return SiteHistory(
        _newest_operations(session, site_id), events.history(session, site_id=site_id, limit=EVENTS_SHOWN)
    )


def newest_attempt(session: Session, site_id: int) -> LoggedAttempt | None:
    """The attempt that runs or ran last, of a kind that leaves a log."""
    wanted = OperationFilter(site_ids=(site_id,), kinds=_KINDS_WITH_LOG)
    recent = operation_search.list_operations(session, wanted, limit=_RECENT_OPERATIONS)
    found = [
        LoggedAttempt(row.operation, attempt)
        for row in recent
        for attempt in history.attempts_of(session, row.operation.id or 0)[-1:]
    ]
    return max(found, key=lambda logged: logged.attempt.id or 0, default=None)


def chosen_attempt(session: Session, site_id: int, operation_id: int, number: int | None) -> LoggedAttempt:
    """One attempt of one of the site's operations, the last one where no number is given.

    Raises:
        NotFoundError: the site has no such operation (E-OP-UNKNOWN), or that has no such attempt (E-OP-NO-ATTEMPT).
    """
    operation = history.get_operation(session, operation_id).operation
    if operation.site_id != site_id:
        raise NotFoundError(
            f"operation {operation_id} is one of another site",
            hint="The list of operations names its site.",
            code="E-OP-UNKNOWN",
        )
    found = [item for item in history.attempts_of(session, operation_id) if number in (None, item.number)]
    if not found:
        raise NotFoundError(
            f"operation {operation_id} has no such attempt",
            hint="It may still wait for its first one: the site's page tells for what.",
            code="E-OP-NO-ATTEMPT",
        )
    return LoggedAttempt(operation, found[-1])


def _newest_operations(session: Session, site_id: int) -> list[Operation]:
    rows = operation_search.list_operations(session, OperationFilter(site_ids=(site_id,)), limit=OPERATIONS_SHOWN)
    return [row.operation for row in rows]


def _anybody_works(session: Session) -> bool:
    return bool(living(session))
