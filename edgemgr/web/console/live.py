"""The parts of pages that refresh themselves. Each is the same template that the whole page includes."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from edgemgr.model.timestamp import utc_now
from edgemgr.web.appliance import Appliance, Imports
from edgemgr.web.console.bundle_list import KEY_SHOWN, read_bundles
from edgemgr.web.console.log_view import LogPosition, read_more
from edgemgr.web.console.operation_list import OperationQuery, read_operations, waits
from edgemgr.web.console.queue_view import read_queue
from edgemgr.web.console.site_list import SiteQuery, doing, read_sites
from edgemgr.web.console.site_view import read_history, read_site
from edgemgr.web.console.transfers import waits_for
from edgemgr.web.rendering import render

router = APIRouter(prefix="/live")


@router.get("/sites")
def sites(request: Request, appliance: Appliance, query: Annotated[SiteQuery, Query()]) -> Response:
    """The table of sites; the browser's address follows what was typed."""
    with appliance.database.read() as session:
        found = read_sites(session, query)
    status = found.fault.status if found.fault else HTTPStatus.OK
    response = render(request, "_sites.html", status=status, list=found, doing=doing)
    response.headers["hx-replace-url"] = query.url(page=found.page if found.page > 1 else None)
    return response


@router.get("/sites/{name}")
def site(request: Request, appliance: Appliance, name: str) -> Response:
    """What a site is and why it is not moving."""
    with appliance.database.read() as session:
        view = read_site(session, appliance.settings, name, utc_now())
    return render(request, "_site.html", view=view, waits_for=waits_for)


@router.get("/sites/{name}/history")
def history(request: Request, appliance: Appliance, name: str) -> Response:
    """What was asked of a site and what happened there."""
    with appliance.database.read() as session:
        found = read_history(session, name)
    return render(request, "_history.html", name=name, history=found)


@router.get("/sites/{name}/log")
def log(request: Request, appliance: Appliance, name: str, position: Annotated[LogPosition, Query()]) -> Response:
    """The lines of a log that came since."""
    with appliance.database.read() as session:
        more = read_more(session, appliance.settings.log_dir, name, position)
    return render(request, "_log_lines.html", log=more)


@router.get("/operations")
def operations(request: Request, appliance: Appliance, query: Annotated[OperationQuery, Query()]) -> Response:
    """The table of operations."""
    with appliance.database.read() as session:
        found = read_operations(session, query)
    return render(request, "_operations.html", list=found, waits=waits, now=utc_now())


@router.get("/queue")
def queue(request: Request, appliance: Appliance) -> Response:
    """What runs, what waits and for what."""
    with appliance.database.read() as session:
        view = read_queue(session, appliance.settings, utc_now())
    return render(request, "_queue.html", view=view)


@router.get("/bundles")
def bundles(request: Request, appliance: Appliance, imports: Imports) -> Response:
    """What was taken in, and how far uploads are."""
    with appliance.database.read() as session:
        found = read_bundles(session, appliance.settings, imports, utc_now())
    return render(request, "_bundles.html", list=found, key_shown=KEY_SHOWN, waits_for=waits_for)
