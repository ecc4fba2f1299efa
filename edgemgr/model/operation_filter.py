"""Which operations somebody wants to see: every condition that is given must hold."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from edgemgr.model.attempt import Outcome
from edgemgr.model.operation import OperationKind, OperationState, WaitingFor
from edgemgr.model.selector import Selector


@dataclass(frozen=True)
class OperationFilter:
    """A question about the history; what is None or empty does not narrow it. Times: from, inclusive; until, not."""

    site_ids: tuple[int, ...] | None = None
    sites: Selector | None = None  #: of sites that such a selector chooses now
    states: tuple[OperationState, ...] = ()
    kinds: tuple[OperationKind, ...] = ()
    waiting_for: WaitingFor | None = None  #: only what is queued waits
    request: str | None = None
    actor: str | None = None
    code: str | None = None  #: why it ended or waits
    outcome: Outcome | None = None  #: some attempt of it ended so
    since: datetime | None = None  #: when it was asked for
    until: datetime | None = None
    ended_since: datetime | None = None
    ended_until: datetime | None = None
    due_before: datetime | None = None  #: queued, and to be given up before that moment
    before_id: int | None = None  #: the cursor of a list with the newest first
    after_id: int | None = None  #: the cursor of a list with the oldest first
