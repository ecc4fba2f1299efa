"""Whole pages."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response

from edgemgr.model.timestamp import utc_now
from edgemgr.web.appliance import Appliance, Imports
from edgemgr.web.console.bundle_list import KEY_SHOWN, read_bundles
from edgemgr.web.console.expiry_view import read_expiry
from edgemgr.web.console.log_view import LogQuery, read_end
from edgemgr.web.console.operation_list import OperationQuery, read_operations, waits
from edgemgr.web.console.queue_view import read_queue
from edgemgr.web.console.site_list import SiteQuery, doing, read_sites
from edgemgr.web.console.site_view import read_history, read_site
from edgemgr.web.console.transfers import waits_for
from edgemgr.web.rendering import render

router = APIRouter()


@router.get("/")
def home() -> RedirectResponse:
    """The list of sites is where one begins."""
    return RedirectResponse("/sites")


@router.get("/sites")
def sites(request: Request, appliance: Appliance, query: Annotated[SiteQuery, Query()]) -> Response:
    """The list of sites."""
    with appliance.database.read() as session:
        found = read_sites(session, query)
    status = found.fault.status if found.fault else HTTPStatus.OK
    return render(request, "sites.html", status=status, list=found, doing=doing)


@router.get("/sites/{name}")
def site(request: Request, appliance: Appliance, name: str, query: Annotated[LogQuery, Query()]) -> Response:
    """One site."""
    with appliance.database.read() as session:
        view = read_site(session, appliance.settings, name, utc_now())
        log = read_end(session, appliance.settings.log_dir, name, query)
        history = read_history(session, name)
    return render(request, "site.html", name=name, view=view, log=log, history=history, waits_for=waits_for)


@router.get("/operations")
def operations(request: Request, appliance: Appliance, query: Annotated[OperationQuery, Query()]) -> Response:
    """The list of operations."""
    with appliance.database.read() as session:
        found = read_operations(session, query)
    return render(request, "operations.html", list=found, waits=waits, now=utc_now())


@router.get("/queue")
def queue(request: Request, appliance: Appliance) -> Response:
    """What runs, what waits and for what."""
    with appliance.database.read() as session:
        view = read_queue(session, appliance.settings, utc_now())
    return render(request, "queue.html", view=view)


@router.get("/expiry")
def expiry(request: Request, appliance: Appliance, within_days: Annotated[int, Query(ge=1, le=3650)] = 90) -> Response:
    """What will break by itself, and when."""
    view = read_expiry(appliance.database, appliance.settings, within_days, utc_now())
    return render(request, "expiry.html", view=view)


@router.get("/bundles")
def bundles(request: Request, appliance: Appliance, imports: Imports) -> Response:
    """What was taken in, and the place to upload more."""
    with appliance.database.read() as session:
        found = read_bundles(session, appliance.settings, imports, utc_now())
    return render(request, "bundles.html", list=found, key_shown=KEY_SHOWN, waits_for=waits_for)
