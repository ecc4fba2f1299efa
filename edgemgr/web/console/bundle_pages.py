"""The page of one bundle, the part of it that refreshes itself, and the form by which it is brought to sites."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response

from edgemgr.model.bundle_name import BundleName
from edgemgr.model.timestamp import utc_now
from edgemgr.web.appliance import Appliance
from edgemgr.web.bundle_path import BUNDLE_PATH, NamedBundle
from edgemgr.web.console.bundle_list import KEY_SHOWN
from edgemgr.web.console.bundle_view import OUTLOOK_SHOWN, BundleQuery, read_ahead, read_asked, read_bundle
from edgemgr.web.console.transfers import waits_for
from edgemgr.web.rendering import render
from edgemgr.web.stage_requests import ask

router = APIRouter()

_SITES_MAX = 1_000_000


@router.get(BUNDLE_PATH)
def bundle(
    request: Request,
    appliance: Appliance,
    name: NamedBundle,
    query: Annotated[BundleQuery, Query()],
) -> Response:
    """One bundle."""
    with appliance.database.read() as session:
        view = read_bundle(session, name, utc_now())
        asked = read_asked(session, query)
    ahead = read_ahead(appliance, name, query)
    status = ahead.fault.status if ahead and ahead.fault else HTTPStatus.OK
    return render(
        request,
        "bundle.html",
        status=status,
        view=view,
        query=query,
        asked=asked,
        ahead=ahead,
        ahead_shown=OUTLOOK_SHOWN,
        key_shown=KEY_SHOWN,
        waits_for=waits_for,
    )


@router.get(f"/live{BUNDLE_PATH}")
def live_bundle(request: Request, appliance: Appliance, name: NamedBundle) -> Response:
    """What a bundle is, who holds it, and what is on its way."""
    with appliance.database.read() as session:
        view = read_bundle(session, name, utc_now())
    return render(request, "_bundle.html", view=view, key_shown=KEY_SHOWN, waits_for=waits_for)


@router.get("/stages")
def look_again(bundle: str, to: str = "") -> RedirectResponse:
    """The address of the form, typed or reloaded: look ahead once more."""
    return RedirectResponse(f"{_address(BundleName.parse(bundle))}?{urlencode({'to': to})}", HTTPStatus.SEE_OTHER)


@router.post("/stages")
def ask_for_stage(
    appliance: Appliance, bundle: str, sites: Annotated[int, Query(ge=1, le=_SITES_MAX)], to: str = ""
) -> RedirectResponse:
    """Bring a bundle to the sites that were shown. All is in the address, so that the form works without a script."""
    name = BundleName.parse(bundle)
    asked = ask(appliance, name, to, expected=sites)
    return RedirectResponse(f"{_address(name)}?{urlencode({'asked': asked.request})}", HTTPStatus.SEE_OTHER)


def _address(name: BundleName) -> str:
    return f"/bundles/{name}"
