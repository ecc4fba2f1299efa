"""Templates and the few words they use. Everything that is filled in is escaped."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from fastapi import Request
from fastapi.responses import HTMLResponse

from edgemgr.model.timestamp import utc_now
from edgemgr.web.assets import asset_url

_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB")
_KIBI = 1024


def span(seconds: float) -> str:
    """A length of time in the largest unit that fits: `0s`, `12m`, `3h`, `9d`."""
    passed = int(abs(seconds))
    size_s, letter = next(unit for unit in _UNITS if passed >= unit[0] or unit[0] == 1)
    return f"{passed // size_s}{letter}"


def lasting(seconds: float) -> str:
    """A length of time in its two largest units: `40s`, `1h 20m`, `3d 2h`; never less than a second."""
    left, words = max(1, round(seconds)), []
    for size_s, letter in _UNITS:
        if left >= size_s:
            words.append(f"{left // size_s}{letter}")
        left %= size_s
    return " ".join(words[:2])


def ago(moment: datetime | None, now: datetime | None = None) -> str:
    """How far away a moment is: `3m ago`, `in 40s`, `never`."""
    if moment is None:
        return "never"
    passed_s = ((now or utc_now()) - moment).total_seconds()
    return f"{span(passed_s)} ago" if passed_s > -1 else f"in {span(passed_s)}"


def utc(moment: datetime) -> str:
    """A moment for reading: `2026-11-20 21:05:33 UTC`."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def iso(moment: datetime) -> str:
    """A moment for programs: `2026-11-20T21:05:33Z`."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def size(size_bytes: float) -> str:
    """A size with a binary unit: `512 B`, `3.8 GiB`."""
    amount = float(size_bytes)
    for unit in _BINARY:
        if amount < _KIBI or unit == _BINARY[-1]:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= _KIBI
    raise RuntimeError("unreachable: the last unit takes everything")


def segment(text: str) -> str:
    """A text as one piece of a path in an address."""
    return quote(text, safe="")


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        ago=ago, utc=utc, iso=iso, span=span, lasting=lasting, size=size, segment=segment, quoted=shlex.quote
    )
    environment.globals["asset_url"] = asset_url
    return environment


_templates = _environment()


def render(request: Request, template: str, *, status: HTTPStatus = HTTPStatus.OK, **values: Any) -> HTMLResponse:
    """Fill a template in."""
    html = _templates.get_template(template).render(path=request.url.path, **values)
    return HTMLResponse(html, status_code=status)
