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


def run(module: Any, body: Callable[[Any], dict[str, Any]]) -> None:
    """Run `body(module.params)` and leave with its result, or with the failure that it met."""
    try:
        result = body(module)
    except EdgeError as failure:
        module.fail_json(**failure.result())
    except subprocess.TimeoutExpired as exc:
        module.fail_json(
            msg=f"`{' '.join(exc.cmd)}` did not end within {exc.timeout:g} s",
            edge_code="E-NODE-SLOW",
            edge_hint="Look at the node's load and disk (top, dmesg); the next attempt goes on.",
            edge_retry=BUDGETED,
        )
    except OSError as exc:  # a full or read-only disk, a missing right: the file's name is in the message
        module.fail_json(
            msg=f"the node's file system refused: {exc}",
            edge_code="E-NODE-IO",
            edge_hint="Look at the node's disk (df, dmesg); what was already done stays and the next attempt goes on.",
            edge_retry=BUDGETED,
        )
    module.exit_json(**result)
