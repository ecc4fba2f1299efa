"""How changes to sites are shown, by import, edit and label alike: one line for each field."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgemgr.cli.output import Column
from edgemgr.model.site_change import SiteChange


@dataclass(frozen=True)
class ChangeLine:
    """One field of one site, before and after."""

    site: str
    field: str
    old: str
    new: str


COLUMNS: tuple[Column[ChangeLine], ...] = (
    Column("site", lambda line: line.site),
    Column("field", lambda line: line.field),
    Column("old", lambda line: line.old),
    Column("new", lambda line: line.new),
)


def change_lines(changes: Sequence[SiteChange]) -> Iterator[ChangeLine]:
    """Spread changes into lines."""
    for change in changes:
        for field in change.fields:
            yield ChangeLine(change.name, field.field, field.old, field.new)
