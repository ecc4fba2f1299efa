"""Told: what a site reported of itself, read with care: any site may report anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

#: Beyond this no number of a site means anything.
_MOST = 1 << 63


@dataclass(frozen=True, kw_only=True)
class Told:
    """The facts of a Cluster."""

    told: Mapping[str, Any] = field(default_factory=dict)

    def number(self, key: str) -> int | None:
        """A reported number that is not negative; None for anything else."""
        value = self.told.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return int(value) if 0 <= value < _MOST else None

    def text(self, key: str) -> str:
        """A reported text; empty for anything else."""
        value = self.told.get(key)
        return value if isinstance(value, str) else ""

    def moment(self, key: str) -> datetime | None:
        """A reported time, in UTC; None for anything else."""
        try:
            found = datetime.fromisoformat(self.text(key))
            return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
        except (ValueError, OverflowError):
            return None

    @property
    def certificate_at(self) -> datetime | None:
        """When the first leaf certificate ends: by k3s' files, or else as the API shows its own."""
        ends = [self.moment(key) for key in ("leaf_expires_at", "certificate_expires_at")]
        return min((at for at in ends if at is not None), default=None)
