"""Bundles as JSON: the documents of `edgemgr bundle list -o json`, and where their content lies."""

from __future__ import annotations

from fastapi import APIRouter

from edgemgr.model.timestamp import utc_now
from edgemgr.store import bundles
from edgemgr.store.bundle_holdings import Holding, holders_of, holdings_of
from edgemgr.store.bundle_item import BundleItem
from edgemgr.store.queries import get_site
from edgemgr.store.stages_open import OpenStages, open_stages
from edgemgr.web.api.envelope import Document, Listing
from edgemgr.web.appliance import Appliance
from edgemgr.web.bundle_path import BUNDLE_PATH, NamedBundle

router = APIRouter(tags=["bundles"])


class BundleDocument(Document):
    """One bundle, and how it gets on at the sites."""

    kind: str = "Bundle"
    bundle: BundleItem
    sites_holding: int
    under_way: OpenStages | None


@router.get("/bundles", operation_id="listBundles")
def list_bundles(appliance: Appliance) -> Listing[BundleItem]:
    """Every bundle that was taken in or is being so."""
    now = utc_now()
    with appliance.database.read() as session:
        items = [BundleItem.of(bundle, now) for bundle in bundles.all_bundles(session)]
    return Listing[BundleItem](kind="BundleList", items=items, total=len(items))


@router.get(BUNDLE_PATH, operation_id="getBundle")
def get_bundle(appliance: Appliance, name: NamedBundle) -> BundleDocument:
    """One bundle."""
    with appliance.database.read() as session:
        item = BundleItem.of(bundles.get(session, name), utc_now())
        holding, under_way = holders_of(session, item.name, limit=1).sites, open_stages(session).get(item.name)
    return BundleDocument(bundle=item, sites_holding=holding, under_way=under_way)


@router.get("/sites/{name}/bundles", operation_id="listSiteBundles")
def list_site_bundles(appliance: Appliance, name: str) -> Listing[Holding]:
    """The bundles whose content lies on a site's node, the newest first."""
    with appliance.database.read() as session:
        items = holdings_of(session, get_site(session, name).id or 0)
    return Listing[Holding](kind="HoldingList", items=items, total=len(items))
