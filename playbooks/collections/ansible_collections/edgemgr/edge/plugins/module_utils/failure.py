"""How a module of this collection fails: a stable code, one sentence, what to do next."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

NEVER = "never"
BUDGETED = "budgeted"


class EdgeError(Exception):
    """Something that an operator can act upon; becomes the failed result of a task.

    `retry` says whether the same request can succeed later: `never` (the inputs must change) or `budgeted`.
    `details` are further keys of the result.
    """

    def __init__(self, code: str, message: str, hint: str, retry: str = BUDGETED, **details: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.retry = retry
        self.details = details

    def result(self) -> dict[str, Any]:
        """The arguments for `fail_json`."""
        return dict(self.details, msg=self.message, edge_code=self.code, edge_hint=self.hint, edge_retry=self.retry)


def run(module: Any, body: Callable[[Any], dict[str, Any]], so_far: Callable[[], dict[str, Any]] = dict) -> None:
    """Run `body(module)` and leave with its result, or with the failure that it met.

    `so_far` gives what was done until then: keys that belong to the result in either case.
    """
    try:
        result = body(module)
    except (EdgeError, subprocess.TimeoutExpired, OSError) as exc:
        module.fail_json(**{**so_far(), **_known(exc).result()})
    module.exit_json(**{**so_far(), **result})


def _known(exc: EdgeError | subprocess.TimeoutExpired | OSError) -> EdgeError:
    if isinstance(exc, EdgeError):
        return exc
    if isinstance(exc, subprocess.TimeoutExpired):
        return EdgeError(
            "E-NODE-SLOW",
            f"`{' '.join(exc.cmd)}` did not end within {exc.timeout:g} s",
            "Look at the node's load and disk (top, dmesg); the next attempt goes on.",
        )
    # A full or read-only disk, a missing right: the file's name is in the message.
    return EdgeError(
        "E-NODE-IO",
        f"the node's file system refused: {exc}",
        "Look at the node's disk (df, dmesg); what was already done stays and the next attempt goes on.",
    )
