"""The rules of a group: its name, what it may select, and how long it may trust a host key nobody looked at."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

from edgemgr.errors import InventoryError, SelectorError
from edgemgr.inventory import fields
from edgemgr.inventory.field_fault import FieldFault
from edgemgr.model.selector_text import parse_filter, parse_labels

FIRST_USE_LIMIT = timedelta(days=90)


def check_name(name: str) -> None:
    """Hold a group's name to the rules of site names.

    Raises:
        InventoryError: it breaks them (E-GROUP-NAME).
    """
    try:
        fields.name(name)
    except FieldFault as fault:
        raise InventoryError(
            f"{name!r} cannot name a group: {fault.message}", hint=fault.hint, code="E-GROUP-NAME"
        ) from None


def saved_selector(labels: str | None, filter_: str | None) -> str:
    """Give the text to save: it is read as a filter ever after, so labels must mean the same there.

    Raises:
        SelectorError: it cannot be read, names a group, or a label looks like a field.
    """
    if labels is not None and parse_labels(labels) != parse_filter(labels):
        raise SelectorError(
            f"in {labels!r} a label has the name of a field",
            hint="Write labels.KEY=VALUE, for example labels.health=good.",
            code="E-SELECTOR-FIELD",
        )
    text = ",".join(part for part in (labels, filter_) if part)
    if any(term.key == "group" and not term.is_label for term in parse_filter(text).terms):
        raise SelectorError(
            "a group cannot be made of groups", hint="Write their selectors out.", code="E-SELECTOR-GROUP"
        )
    return text


def first_use_until(text: str, now: datetime) -> datetime:
    """Read the day (UTC) at whose end a group trusts no first key any more.

    Raises:
        InventoryError: it is no date, past, or too far away (E-GROUP-FIRST-USE).
    """
    try:
        end = datetime.combine(date.fromisoformat(text), time(tzinfo=UTC)) + timedelta(days=1)
    except (ValueError, OverflowError):
        raise InventoryError(
            f"{text!r} is no date", hint="Write YYYY-MM-DD; that day is included, in UTC.", code="E-GROUP-FIRST-USE"
        ) from None
    if not now < end <= now + FIRST_USE_LIMIT + timedelta(days=1):
        raise InventoryError(
            f"{text} is not within the next {FIRST_USE_LIMIT.days} days",
            hint="Trust on first use is for a roll-out, not for ever.",
            code="E-GROUP-FIRST-USE",
        )
    return end
