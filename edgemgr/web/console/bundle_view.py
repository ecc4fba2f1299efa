"""One bundle as its page shows it: what it is, which sites hold it, and what is on its way to others."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel, Field

from edgemgr.app import App
from edgemgr.errors import EdgemgrError
from edgemgr.model.bundle import BundleState
from edgemgr.model.bundle_name import BundleName
from edgemgr.store import bundles
from edgemgr.store.bundle_holdings import Holders, holders_of
from edgemgr.store.bundle_item import BundleItem
from edgemgr.store.database import Session
from edgemgr.store.history import Progress, progress
from edgemgr.store.stages_open import OpenStages
from edgemgr.web.console.transfers import Transfers, read_transfers
from edgemgr.web.faults import Fault
from edgemgr.web.stage_requests import Outlook, look_ahead

HOLDERS_SHOWN = 12
#: Sites of an outlook that are shown one by one.
OUTLOOK_SHOWN = 5


class BundleQuery(BaseModel):
    """What an address asks for: a look ahead at a stage to the sites of a filter, or what became of a request."""

    to: str | None = Field(None, description="A filter as on the command line; empty: every site.")
    asked: str = Field("", pattern="^[0-9a-f]*$", max_length=64)


@dataclass(frozen=True)
class BundleView:
    """What the page shows and refreshes."""

    item: BundleItem
    holders: Holders
    transfers: Transfers

    @property
    def under_way(self) -> OpenStages | None:
        """Its stages that have not ended."""
        return self.transfers.counts.get(self.item.name)

    @property
    def can_be_staged(self) -> bool:
        """It was taken in whole."""
        return self.item.state == BundleState.IMPORTED.value


@dataclass(frozen=True)
class Ahead:
    """What was looked ahead at, or why it would be refused."""

    sites: str
    outlook: Outlook | None
    fault: Fault | None = None


def read_bundle(session: Session, name: BundleName, now: datetime) -> BundleView:
    """The bundle as it is now.

    Raises:
        NotFoundError: there is none (E-BUNDLE-UNKNOWN).
    """
    item = BundleItem.of(bundles.get(session, name), now)
    return BundleView(
        item,
        holders_of(session, item.name, limit=HOLDERS_SHOWN),
        read_transfers(session, now, bundle=item.name),
    )


def read_asked(session: Session, query: BundleQuery) -> Progress | None:
    """What was just asked for; None where there was nothing."""
    found = progress(session, query.asked) if query.asked else None
    return found if found is not None and found.total else None


def read_ahead(appliance: App, name: BundleName, query: BundleQuery) -> Ahead | None:
    """A look ahead, where one is asked for. What is refused is shown in its place."""
    if query.to is None:
        return None
    sites = query.to.strip()
    try:
        return Ahead(sites, look_ahead(appliance, name, sites))
    except EdgemgrError as exc:
        return Ahead(sites, None, Fault.of(exc))
