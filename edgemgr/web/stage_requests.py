"""Stages asked for in the console or by HTTP: looked ahead at, then asked for, with the rules of `edgemgr stage`."""

from __future__ import annotations

from dataclasses import dataclass

from edgemgr.app import App
from edgemgr.errors import ConflictError, UsageError
from edgemgr.inventory.stage_forecast import StageForecast, forecast
from edgemgr.model.bundle_name import BundleName
from edgemgr.model.operation import OperationKind
from edgemgr.model.selector_text import parse_filter
from edgemgr.operations.submit import check, submit
from edgemgr.store import queries
from edgemgr.store.bundle_holdings import holder_ids
from edgemgr.store.chosen_sites import names_of
from edgemgr.store.database import Session
from edgemgr.web.bundle_imports import ACTOR


@dataclass(frozen=True)
class Outlook:
    """What a stage would be before it is asked for."""

    bundle: str
    rows: list[StageForecast]  #: one for each site, in the order of their names
    holders: int  #: of these sites hold the bundle already, as far as was told

    @property
    def most_bytes(self) -> int:
        """So much would be sent in all, if no site had any of it."""
        return sum(row.most_bytes for row in self.rows)

    @property
    def largest_bytes(self) -> int:
        """So much to one site."""
        return max((row.most_bytes for row in self.rows), default=0)

    @property
    def latest_s(self) -> float | None:
        """How long the slowest of those sites likely takes whose rate is known."""
        return max((row.eta_s for row in self.rows if row.eta_s is not None), default=None)

    @property
    def unknown(self) -> int:
        """Sites to which nothing was ever sent: nobody knows their rate."""
        return sum(row.eta_s is None for row in self.rows)


@dataclass(frozen=True)
class AskedStage:
    """What was asked for."""

    request: str
    sites: tuple[str, ...]


def look_ahead(appliance: App, name: BundleName, sites: str) -> Outlook:
    """What a stage would send to the sites of a filter; changes nothing. The first look at a bundle may take a minute.

    Raises:
        UsageError, NotFoundError, ConflictError, BundleError: it would be refused, as `edgemgr stage --dry-run` says.
    """
    with appliance.database.read() as session:
        ids = _chosen(session, sites)
        check(session, OperationKind.STAGE, {"bundle": str(name)}, ids)
        holders = len(holder_ids(session, str(name)).intersection(ids))
    rows = forecast(appliance.database, appliance.settings, name, ids)
    return Outlook(str(name), sorted(rows, key=lambda row: row.site), holders)


def ask(appliance: App, name: BundleName, sites: str, *, expected: int | None) -> AskedStage:
    """Ask for a stage to the sites of a filter; `expected` is the number of sites that was shown before.

    Raises:
        ConflictError: the filter gives another number of sites by now (E-STAGE-CHOICE).
        UsageError, NotFoundError, ConflictError, BundleError: as `look_ahead`.
    """
    with appliance.database.write() as session:
        ids = _chosen(session, sites)
        if expected is not None and len(ids) != expected:
            raise ConflictError(
                f"these are {len(ids)} sites by now, not the {expected} that were shown; nothing was asked for",
                hint="Sites were added, removed or changed meanwhile. Look again, then ask for it.",
                code="E-STAGE-CHOICE",
            )
        names = names_of(session, ids)
        request = submit(session, OperationKind.STAGE, {"bundle": str(name)}, ids, actor=ACTOR)
    return AskedStage(request.id, tuple(names[site_id] for site_id in ids))


def _chosen(session: Session, sites: str) -> list[int]:
    """The sites of a filter; an empty one means all."""
    ids = queries.site_ids(session, parse_filter(sites))
    if not ids:
        raise UsageError("no site matches", hint="The list of sites takes the same filter.", code="E-OP-NO-SITE")
    return ids
