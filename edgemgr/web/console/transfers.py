"""Stages under way as pages show them: a table of sites, and the limits and windows that hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from edgemgr.model.operation import OPEN_STATES, OperationState, WaitingFor
from edgemgr.store.database import Session
from edgemgr.store.stage_item import StageItem, stage_items
from edgemgr.store.stages_open import OpenStages, first_sites, open_stages
from edgemgr.store.transfer_rule_item import RuleItem, rule_items

SHOWN = 50
#: Where they are not what the page is about.
FEW = 12
_WAITS = {
    WaitingFor.TURN: "its turn",
    WaitingFor.CONTACT: "contact",
    WaitingFor.BACKOFF: "its next try",
    WaitingFor.RESUME: "the site to be resumed",
    WaitingFor.WINDOW: "its transfer window",
}


@dataclass(frozen=True)
class Transfers:
    """What is on its way, of one bundle or of all."""

    items: Sequence[StageItem]  #: the first of them, those that run before those that wait
    counts: dict[str, OpenStages]  #: bundle → its stages, of every bundle
    total: int
    rules: Sequence[RuleItem]
    bundle: str = ""  #: the one that it is about; empty: all

    @property
    def more(self) -> int:
        """Those that are not shown."""
        return self.total - len(self.items)


def read_transfers(session: Session, now: datetime, *, bundle: str | None = None, limit: int = SHOWN) -> Transfers:
    """What is on its way now."""
    counts = open_stages(session)
    found = stage_items(session, first_sites(session, bundle=bundle, limit=limit))
    items = [item for item in found if is_open(item) and bundle in (None, item.bundle)]
    items.sort(key=lambda item: item.state != OperationState.RUNNING.value)
    total = sum(count.sites for name, count in counts.items() if bundle in (None, name))
    return Transfers(items, counts, max(total, len(items)), rule_items(session, now), bundle or "")


def is_open(item: StageItem) -> bool:
    """Whether a stage has not ended."""
    return item.state in OPEN_STATES


def waits_for(item: StageItem) -> str:
    """What a queued stage waits for, in words; empty for one that runs."""
    return _WAITS[WaitingFor(item.waiting_for)] if item.waiting_for else ""
