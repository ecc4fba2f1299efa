"""Faults as evidence: what an error of ours, or of the way to a site, makes of an attempt."""

from __future__ import annotations

from edgemgr.errors import EdgemgrError, Retry, SiteError, SiteUnreachableError, StoreError
from edgemgr.model.attempt import AttemptResult, Outcome


def result_of(exc: EdgemgrError) -> AttemptResult:
    """An error of the way to the site, as evidence.

    A database that is away for a moment says nothing about the site, and nothing is held against it.
    """
    if isinstance(exc, StoreError):
        return AttemptResult(Outcome.LOST, code=exc.code, message=exc.message, hint=exc.hint, retry=Retry.FREE)
    if isinstance(exc, SiteUnreachableError):
        outcome = Outcome.UNREACHABLE
    elif isinstance(exc, SiteError) and exc.retry is Retry.NEVER:
        outcome = Outcome.REFUSED  # nothing was sent, nothing was changed
    else:
        outcome = Outcome.FAILED
    return AttemptResult(outcome, code=exc.code, message=exc.message, hint=exc.hint, retry=exc.retry)


def internal_fault(message: str) -> AttemptResult:
    """A fault of ours, as evidence."""
    return AttemptResult(
        Outcome.FAILED,
        code="E-INTERNAL",
        message=message,
        hint="This is a fault of edgemgr: the worker's log has the details.",
    )
