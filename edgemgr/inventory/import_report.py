"""What an import found and did: every fault, every change, and the counts."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgemgr.inventory.field_fault import FieldFault
from edgemgr.model.site_change import SiteChange

FAULT_LIMIT = 100_000
VALUE_SHOWN = 60
SHOWN_CHANGES = 1000


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, where it is, and what to write instead."""

    line: int
    column: str | None
    position: int | None  #: number of the column; the first is 1
    value: str | None  #: never a secret
    code: str
    message: str
    hint: str

    def __str__(self) -> str:
        where = f"line {self.line}"
        if self.column is not None:
            where += f", column {self.position} ({self.column})" if self.position else f", {self.column}"
        value = f" {_shown(self.value)!r}" if self.value else ""
        return f"{where}:{value} {self.message}. {self.hint} [{self.code}]"


class Faults:
    """All faults of one file. Beyond FAULT_LIMIT they are only counted."""

    def __init__(self) -> None:
        self.kept: list[Fault] = []
        self.total = 0
        self.lines: set[int] = set()  #: lines of rows that are refused
        self.header_lines: set[int] = set()  #: lines with faults for which even good rows are refused

    def add(
        self,
        line: int,
        fault: FieldFault,
        *,
        column: str | None = None,
        position: int | None = None,
        value: str = "",
        of_file: bool = False,
    ) -> None:
        """Note a fault of a row, or of the file as a whole."""
        self.total += 1
        self.lines.add(line)
        if of_file:
            self.header_lines.add(line)
        if len(self.kept) < FAULT_LIMIT:
            self.kept.append(Fault(line, column, position, value or None, fault.code, fault.message, fault.hint))

    def in_order(self) -> list[Fault]:
        """All that are kept, from the first line to the last."""
        return sorted(self.kept, key=lambda fault: (fault.line, fault.position or 0))


@dataclass
class ImportReport:
    """The outcome, or in a dry run what it would be."""

    is_dry_run: bool
    is_applied: bool = False  #: the database has it now
    rows: int = 0
    created: int = 0
    changed: int = 0
    unchanged: int = 0
    refused: int = 0  #: rows with faults
    fault_total: int = 0
    faults: list[Fault] = field(default_factory=list)  #: in the order of lines
    changes: list[SiteChange] = field(default_factory=list)  #: the first SHOWN_CHANGES
    bad_lines: set[int] = field(default_factory=set)

    @property
    def is_clean(self) -> bool:
        """Whether nothing was refused."""
        return self.fault_total == 0


def _shown(value: str | None) -> str:
    text = (value or "").encode("utf-8", "replace").decode()
    return text if len(text) <= VALUE_SHOWN else f"{text[:VALUE_SHOWN]}…"
