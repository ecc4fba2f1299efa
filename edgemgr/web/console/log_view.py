"""The log on a site's page: it follows the site from one attempt to the next, or stays with one that was chosen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from pydantic import BaseModel, Field

from edgemgr.store import queries
from edgemgr.store.database import Session
from edgemgr.web.console.log_window import LogLine, LogWindow, last_lines, next_lines
from edgemgr.web.console.site_view import LoggedAttempt, chosen_attempt, newest_attempt
from edgemgr.web.rendering import segment, utc

_NUMBER_MAX = 2**31 - 1


class LogQuery(BaseModel):
    """Which log an address asks for: the newest, or one operation's and attempt's."""

    operation: int | None = Field(None, ge=1, le=_NUMBER_MAX)
    attempt: int | None = Field(None, ge=1, le=_NUMBER_MAX)


class LogPosition(LogQuery):
    """Where a page has read to. `is_chosen`: the log stays with this attempt."""

    after: int = Field(0, ge=0, le=_NUMBER_MAX)
    is_chosen: bool = False


@dataclass(frozen=True)
class LogView:
    """Some lines, what they belong to, and where the next ones come from."""

    logged: LoggedAttempt | None
    lines: list[LogLine]
    first: int
    more_url: str
    is_chosen: bool


def read_end(session: Session, log_dir: Path, name: str, query: LogQuery) -> LogView:
    """The end of the log that is asked for.

    Raises:
        NotFoundError: there is no such site, operation or attempt.
    """
    site_id = queries.get_site(session, name).id or 0
    is_chosen = query.operation is not None
    if query.operation is not None:
        logged: LoggedAttempt | None = chosen_attempt(session, site_id, query.operation, query.attempt)
    else:
        logged = newest_attempt(session, site_id)
    window = last_lines(log_dir, logged.attempt.id or 0) if logged else LogWindow([], 0, 0)
    return LogView(
        logged, window.lines, window.first, _more_url(name, logged, window.after, is_chosen=is_chosen), is_chosen
    )


def read_more(session: Session, log_dir: Path, name: str, position: LogPosition) -> LogView:
    """What came since: more of the same attempt, else the beginning of a newer one.

    Raises:
        NotFoundError: there is no such site, operation or attempt.
    """
    site_id = queries.get_site(session, name).id or 0
    logged = newest = None if position.is_chosen else newest_attempt(session, site_id)
    if position.operation is not None:
        logged = chosen_attempt(session, site_id, position.operation, position.attempt)
    if logged is None:
        return LogView(None, [], 0, _more_url(name, None, 0, is_chosen=False), is_chosen=False)
    after = position.after if position.operation is not None else 0
    window = next_lines(log_dir, logged.attempt.id or 0, after)
    lines = window.lines if position.operation is not None else [_heading(logged), *window.lines]
    if newest and newest.attempt.id != logged.attempt.id and not window.is_full:
        logged, window = newest, next_lines(log_dir, newest.attempt.id or 0, 0)
        lines = [*lines, _heading(logged), *window.lines]
    return LogView(
        logged,
        lines,
        window.first,
        _more_url(name, logged, window.after, is_chosen=position.is_chosen),
        position.is_chosen,
    )


def _heading(logged: LoggedAttempt) -> LogLine:
    attempt = logged.attempt
    return LogLine(f"── {logged.operation.kind}, attempt {attempt.number}, begun {utc(attempt.started_at)} ──", "head")


def _more_url(name: str, logged: LoggedAttempt | None, after: int, *, is_chosen: bool) -> str:
    base = f"/live/sites/{segment(name)}/log"
    if logged is None:
        return base
    where = {"operation": logged.operation.id, "attempt": logged.attempt.number, "after": after}
    return f"{base}?{urlencode(where | ({'is_chosen': 'true'} if is_chosen else {}))}"
