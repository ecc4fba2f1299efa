"""One check of preflight: what was looked at and how it came out."""

from __future__ import annotations

from typing import Any, NamedTuple

PASSED = "pass"
WARNED = "warn"
BLOCKED = "block"


class Check(NamedTuple):
    """`detail` is one sentence; a blocking check also has a stable code and says what to do."""

    check: str
    verdict: str
    detail: str
    code: str = ""
    hint: str = ""


def passed(check: str, detail: str) -> Check:
    """All is well; the detail is what was found."""
    return Check(check, PASSED, detail)


def warned(check: str, detail: str) -> Check:
    """Worth knowing, but no reason to stop."""
    return Check(check, WARNED, detail)


def blocked(check: str, code: str, detail: str, hint: str) -> Check:
    """A reason to refuse."""
    return Check(check, BLOCKED, detail, code, hint)


def results(checks: list[Check]) -> dict[str, Any]:
    """The keys of the task's result: every check, and the refusals in the form in which they are shown."""
    refusals = [
        {"code": each.code, "message": each.detail, "hint": each.hint, "check": each.check}
        for each in checks
        if each.verdict == BLOCKED
    ]
    return {
        "edge_checks": [{"check": each.check, "verdict": each.verdict, "detail": each.detail} for each in checks],
        "edge_refusals": refusals,
    }
