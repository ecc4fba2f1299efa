"""Bundles as JSON: the documents of `edgemgr bundle list -o json`."""

from __future__ import annotations

from fastapi import APIRouter

from edgemgr.model.timestamp import utc_now
from edgemgr.store import bundles
from edgemgr.store.bundle_item import BundleItem
from edgemgr.web.api.envelope import Listing
from edgemgr.web.appliance import Appliance

router = APIRouter(tags=["bundles"])


@router.get("/bundles", operation_id="listBundles")
def list_bundles(appliance: Appliance) -> Listing[BundleItem]:
    """Every bundle that was taken in or is being so."""
    now = utc_now()
    with appliance.database.read() as session:
        items = [BundleItem.of(bundle, now) for bundle in bundles.all_bundles(session)]
    return Listing[BundleItem](kind="BundleList", items=items, total=len(items))
