"""FieldFault: why one value is not acceptable, and what to write instead."""

from __future__ import annotations


class FieldFault(Exception):  # noqa: N818 - becomes a row of a report, or an InventoryError; never shown as it is
    """Raised by the rules of single fields; whoever knows line and column makes a report of it."""

    def __init__(self, code: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
