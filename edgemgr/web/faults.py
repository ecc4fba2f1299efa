"""Errors as answers: a page for people, a fragment inside a page, and RFC 9457 problem details for programs."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from edgemgr.errors import ConflictError, EdgemgrError, NotFoundError, StoreError, UsageError
from edgemgr.web.rendering import render

logger = logging.getLogger(__name__)

_STATUS: tuple[tuple[type[EdgemgrError], HTTPStatus], ...] = (
    (NotFoundError, HTTPStatus.NOT_FOUND),
    (ConflictError, HTTPStatus.CONFLICT),
    (UsageError, HTTPStatus.BAD_REQUEST),
    (StoreError, HTTPStatus.SERVICE_UNAVAILABLE),
)


@dataclass(frozen=True)
class Fault:
    """What went wrong, as it is shown."""

    message: str
    hint: str
    code: str
    status: HTTPStatus = HTTPStatus.BAD_REQUEST

    @classmethod
    def of(cls, exc: EdgemgrError) -> Fault:
        """The same words as on the command line."""
        status = next((status for kind, status in _STATUS if isinstance(exc, kind)), HTTPStatus.INTERNAL_SERVER_ERROR)
        return cls(exc.message, exc.hint, exc.code, status)


def register(console: FastAPI) -> None:
    """Let every error of the console end in a `Fault`."""
    console.add_exception_handler(EdgemgrError, _known)
    console.add_exception_handler(RequestValidationError, _invalid)
    console.add_exception_handler(HTTPException, _http)
    console.add_exception_handler(Exception, _unforeseen)


def _known(request: Request, exc: Exception) -> Response:
    if not isinstance(exc, EdgemgrError):
        raise exc
    return _answer(request, Fault.of(exc))


def _invalid(request: Request, exc: Exception) -> Response:
    if not isinstance(exc, RequestValidationError):
        raise exc
    faults = "; ".join(f"{error['loc'][-1]}: {error['msg']}" for error in exc.errors())
    return _answer(request, Fault(f"the address cannot be read: {faults}", "Mend that part of it.", "E-USAGE"))


def _http(request: Request, exc: Exception) -> Response:
    if not isinstance(exc, HTTPException):
        raise exc
    status = HTTPStatus(exc.status_code)
    if status is HTTPStatus.NOT_FOUND:
        fault = Fault("there is no such page", "The list of sites is a good place to go on.", "E-NOT-FOUND", status)
    else:
        fault = Fault(status.phrase, "", "E-USAGE", status)
    return _answer(request, fault)


def _unforeseen(request: Request, exc: Exception) -> Response:
    logger.error("%s failed in an unforeseen way", request.url.path, exc_info=exc)
    fault = Fault(
        "a fault of edgemgr itself",
        "The log of `edgemgr serve` has the details; please report them.",
        "E-INTERNAL",
        HTTPStatus.INTERNAL_SERVER_ERROR,
    )
    return _answer(request, fault)


def _answer(request: Request, fault: Fault) -> Response:
    if request.url.path.startswith("/api/"):
        return JSONResponse(_problem(fault), fault.status, media_type="application/problem+json")
    template = "_fault.html" if request.url.path.startswith("/live/") else "fault.html"
    return render(request, template, status=fault.status, fault=fault)


def _problem(fault: Fault) -> dict[str, Any]:
    return {
        "type": "about:blank",
        "title": fault.status.phrase,
        "status": fault.status.value,
        "detail": fault.message,
        "code": fault.code,
        "hint": fault.hint,
    }
