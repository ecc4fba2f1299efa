"""What an import or an edit is going to do to a Site: the same values for the plan that is shown and for the write."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from edgemgr.model.secret import Secret, SecretName

SHOWN_LIMIT = 80


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field before and after, as text in the words of the CSV's columns; secrets as `***`."""

    field: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.field}: {_short(self.old)} → {_short(self.new)}"


@dataclass(frozen=True, slots=True)
class NewSite:
    """A site that does not exist yet."""

    values: dict[str, Any]  #: by attribute of Site
    labels: dict[str, str]
    secrets: dict[SecretName, Secret] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SiteChange:
    """Changes to a site that exists."""

    site_id: int
    name: str
    fields: tuple[FieldChange, ...]  #: what to show
    values: dict[str, Any]  #: new values by attribute of Site
    labels: dict[str, str | None] = field(default_factory=dict)  #: new values; None takes the label away
    secrets: dict[SecretName, Secret] = field(default_factory=dict)

    @property
    def pins(self) -> str | None:
        """The fingerprint that becomes the pinned one by this change."""
        fingerprint: str | None = self.values.get("host_key_fingerprint")
        return fingerprint

    @property
    def summary(self) -> str:
        """All changes in one line."""
        return "; ".join(str(change) for change in self.fields)


@dataclass(frozen=True, slots=True)
class StoredSite:
    """A site as it is now, as far as operators set it."""

    id: int
    name: str
    values: dict[str, Any]  #: by attribute of Site
    labels: dict[str, str]


def _short(text: str) -> str:
    text = text.replace("\n", " ")
    return (text if len(text) <= SHOWN_LIMIT else f"{text[:SHOWN_LIMIT]}…") or "-"
