"""The rule of which backups of a site may go, by count and age. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from edgemgr.errors import UsageError


@dataclass(frozen=True)
class Retention:
    """Keeps the newest `at_least` whatever their age; of the others none beyond `at_most` and none above `max_age`.

    The newest backup is never removed, however the rule is set: a site that was away for a year keeps its last one.
    """

    at_least: int = 3
    at_most: int = 30
    max_age: timedelta | None = timedelta(days=90)  #: None: no age is too old

    def __post_init__(self) -> None:
        if not 1 <= self.at_least <= self.at_most or (self.max_age is not None and self.max_age <= timedelta()):
            raise UsageError(
                f"backups cannot be kept by this rule: at least {self.at_least}, at most {self.at_most},"
                f" none older than {self.max_age}",
                hint="Keep at least 1, at most as many or more, and give an age above 0.",
                code="E-BACKUP-RETENTION",
            )


@dataclass(frozen=True)
class Aged:
    """What the rule asks of a backup."""

    attempt: int  #: which is newer: attempts only grow
    pulled_at: datetime
    is_held: bool = False  #: an operator wants it kept; it takes no other's place


def removable(backups: Sequence[Aged], rule: Retention, now: datetime) -> list[int]:
    """The attempts of the backups of one site that may go, oldest first."""
    newest_first = sorted((each for each in backups if not each.is_held), key=lambda each: each.attempt, reverse=True)
    gone = [
        each.attempt
        for place, each in enumerate(newest_first)
        if place >= rule.at_least
        and (place >= rule.at_most or (rule.max_age is not None and now - each.pulled_at > rule.max_age))
    ]
    return gone[::-1]
