"""Sites and their events as JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict

from edgemgr.model.selector import Selector
from edgemgr.model.selector_text import parse_filter
from edgemgr.store import events, queries
from edgemgr.store.queries import SiteRow
from edgemgr.web.api.envelope import LIMIT_MAX, OFFSET_MAX, Document, Listing
from edgemgr.web.appliance import Appliance

router = APIRouter(tags=["sites"])


class EventItem(BaseModel):
    """One event."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    at: datetime
    type: str
    reason: str
    message: str
    actor: str
    site_name: str | None
    operation_id: int | None


class SiteDocument(Document):
    """One site."""

    kind: str = "Site"
    site: SiteRow


@router.get("/sites", operation_id="listSites")
def list_sites(
    appliance: Appliance,
    filter: Annotated[str, Query(description="A filter as on the command line.")] = "",  # noqa: A002 - its name in the address
    sort: str = "name",
    limit: Annotated[int, Query(ge=1, le=LIMIT_MAX)] = 100,
    offset: Annotated[int, Query(ge=0, le=OFFSET_MAX)] = 0,
) -> Listing[SiteRow]:
    """The sites that a filter selects."""
    with appliance.database.read() as session:
        rows, total = queries.list_sites(session, where=parse_filter(filter), sort=sort, limit=limit, offset=offset)
    return Listing[SiteRow](kind="SiteList", items=rows, total=total)


@router.get("/sites/{name}", operation_id="getSite")
def get_site(appliance: Appliance, name: str) -> SiteDocument:
    """One site."""
    with appliance.database.read() as session:
        queries.get_site(session, name)
        rows, _ = queries.list_sites(session, where=Selector.of_names(name), limit=1)
    return SiteDocument(site=rows[0])


@router.get("/sites/{name}/events", operation_id="listSiteEvents")
def list_site_events(
    appliance: Appliance,
    name: str,
    after: Annotated[int, Query(ge=0, le=OFFSET_MAX, description="Only events with a higher id.")] = 0,
    limit: Annotated[int, Query(ge=1, le=LIMIT_MAX)] = 100,
) -> Listing[EventItem]:
    """What happened to a site, the newest first."""
    with appliance.database.read() as session:
        site_id = queries.get_site(session, name).id
        found = events.history(session, site_id=site_id, after=after, limit=limit)
    items = [EventItem.model_validate(event) for event in found]
    return Listing[EventItem](kind="EventList", items=items, total=len(items))
