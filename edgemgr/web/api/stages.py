"""Stages as JSON: the documents of `edgemgr stage status`, `stage rules` and `stage --dry-run`; and asking for one."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from edgemgr.errors import UsageError
from edgemgr.inventory.stage_forecast import StageForecast
from edgemgr.model.bundle_name import BundleName
from edgemgr.model.operation import OperationKind
from edgemgr.model.selector_text import parse_filter
from edgemgr.model.timestamp import utc_now
from edgemgr.store import queries
from edgemgr.store.stage_item import StageItem, stage_items
from edgemgr.store.transfer_rule_item import RuleItem, rule_items
from edgemgr.web.api.envelope import LIMIT_MAX, OFFSET_MAX, Document, Listing
from edgemgr.web.appliance import Appliance
from edgemgr.web.stage_requests import ask, look_ahead

router = APIRouter(tags=["stages"])

_SITES_MAX = 1_000_000
BundleQuery = Annotated[str, Query(description="PRODUCT/CHANNEL/NUMBER.")]
FilterQuery = Annotated[str, Query(description="A filter as on the command line; without it every site.")]


class StageRequest(BaseModel):
    """A bundle, and the sites that it is to be brought to."""

    bundle: str = Field(description="PRODUCT/CHANNEL/NUMBER.")
    filter: str = Field("", description="A filter as on the command line.")
    all: bool = Field(False, description="Every site, instead of a filter.")
    sites: int | None = Field(
        None, ge=1, le=_SITES_MAX, description="How many sites these are; refused where they are not."
    )


class StageAsked(Document):
    """What was asked for, as `edgemgr stage -o json` prints it."""

    kind: str = "Request"
    operation: str = OperationKind.STAGE.value
    request: str
    sites: list[str]


@router.get("/stages", operation_id="listStages")
def list_stages(
    appliance: Appliance,
    filter: FilterQuery = "",  # noqa: A002 - its name in the address
    bundle: Annotated[str, Query(description="Only stages of this bundle.")] = "",
    limit: Annotated[int, Query(ge=1, le=LIMIT_MAX)] = 100,
    offset: Annotated[int, Query(ge=0, le=OFFSET_MAX)] = 0,
) -> Listing[StageItem]:
    """The latest stage of each site that ever was staged, by name of the site."""
    wanted = str(BundleName.parse(bundle)) if bundle else None
    with appliance.database.read() as session:
        found = stage_items(session, queries.site_ids(session, parse_filter(filter)))
    items = [item for item in found if wanted in (None, item.bundle)]
    return Listing[StageItem](kind="StageList", items=items[offset : offset + limit], total=len(items))


@router.get("/stages/forecast", operation_id="forecastStage")
def forecast_stage(
    appliance: Appliance,
    bundle: BundleQuery,
    filter: FilterQuery = "",  # noqa: A002 - its name in the address
    limit: Annotated[int, Query(ge=1, le=LIMIT_MAX)] = 100,
    offset: Annotated[int, Query(ge=0, le=OFFSET_MAX)] = 0,
) -> Listing[StageForecast]:
    """What a stage would send to each site at most, and how long that would take. Changes nothing."""
    rows = look_ahead(appliance, BundleName.parse(bundle), filter).rows
    return Listing[StageForecast](kind="StageForecast", items=rows[offset : offset + limit], total=len(rows))


@router.get("/stages/rules", operation_id="listStageRules")
def list_rules(appliance: Appliance) -> Listing[RuleItem]:
    """The bandwidth limits and the transfer windows."""
    with appliance.database.read() as session:
        items = rule_items(session, utc_now())
    return Listing[RuleItem](kind="StageRuleList", items=items, total=len(items))


@router.post("/stages", operation_id="askForStage", status_code=HTTPStatus.ACCEPTED)
def ask_for_stage(appliance: Appliance, wanted: StageRequest) -> StageAsked:
    """Ask for a stage: an operation for each site of the filter, all or none."""
    if bool(wanted.filter.strip()) == wanted.all:
        raise UsageError(
            "say which sites: a filter, or all of them, one of the two",
            hint='Send "filter", or "all": true.',
            code="E-OP-NO-SITE",
        )
    asked = ask(appliance, BundleName.parse(wanted.bundle), wanted.filter, expected=wanted.sites)
    return StageAsked(request=asked.request, sites=list(asked.sites))
