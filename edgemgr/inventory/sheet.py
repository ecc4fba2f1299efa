"""Sheet: the rows of a CSV file, read by the rules of their columns, with every fault that the file alone shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from edgemgr.inventory import columns
from edgemgr.inventory.columns import Column
from edgemgr.inventory.csv_file import CsvFile, Record
from edgemgr.inventory.field_fault import FieldFault
from edgemgr.inventory.formula import restore
from edgemgr.inventory.import_report import Faults
from edgemgr.model.secret import SecretName

#: Stands for a value that was refused.
INVALID: Final = object()

_CACHE_LIMIT = 4096
_PROGRESS_STEP = 1000


class Row(NamedTuple):
    """One row: a value for each of the sheet's columns; None for an empty cell, INVALID for a refused one."""

    line: int
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Place:
    """A column and where it stands in the file."""

    column: Column
    index: int

    def read(self, text: str) -> Any:
        """Read one cell; None if it is empty.

        Raises:
            FieldFault: the rules of the column refuse it.
        """
        if self.column.secret is SecretName.PASSWORD:
            return self.column.read(text) if text else None
        text = restore(text).strip()
        if not text:
            if self.column.required:
                raise FieldFault(
                    "E-CSV-REQUIRED", "this cell may not be empty", f"Write for example {self.column.example}."
                )
            return None
        return self.column.read(text)


@dataclass(frozen=True)
class Sheet:
    """The whole file."""

    places: tuple[Place, ...]
    rows: list[Row]

    def index_of(self, name: str) -> int | None:
        """Where the values of a column stand in each row; None if the file does not have it."""
        return next((i for i, place in enumerate(self.places) if place.column.name == name), None)


def read_sheet(file: CsvFile, faults: Faults, progress: Callable[[int], None]) -> Sheet:
    """Read a file to its end; faults are noted, never raised.

    Args:
        file: the file.
        faults: where faults go.
        progress: is told the bytes that have been read.
    """
    records = file.records()
    if file.header_fault:
        faults.add(1, file.header_fault, of_file=True)
        return Sheet((), [])
    header = next(records, Record(1, []))
    places = _places(header, faults)
    reader = _RowReader(places, len(header.cells), faults)
    rows = []
    for record in records:
        row = reader.read(record)
        if row is not None:
            rows.append(row)
        if reader.count % _PROGRESS_STEP == 0:
            progress(file.bytes_read)
    if not reader.count and not faults.total:
        empty = FieldFault("E-CSV-EMPTY", "there is no row below the heading", "Write one row for each site.")
        faults.add(1, empty, of_file=True)
    return Sheet(places, rows)


def _places(header: Record, faults: Faults) -> tuple[Place, ...]:
    """Read the heading. Its faults make the whole file unusable, but the rows are still checked."""
    places: dict[str, Place] = {}
    if header.fault:
        faults.add(header.line, header.fault, of_file=True)
    for index, cell in enumerate(header.cells):
        name = restore(cell).strip()
        if name == columns.ERROR_COLUMN:
            continue
        try:
            place = Place(columns.find(name), index)
        except FieldFault as fault:
            faults.add(header.line, fault, column=name or None, position=index + 1, value=name, of_file=True)
            continue
        first = places.setdefault(name, place)
        if first is not place:
            twice = FieldFault(
                "E-CSV-COLUMN-TWICE", f"column {first.index + 1} has this name already", "Keep one of them."
            )
            faults.add(header.line, twice, column=name, position=index + 1, value=name, of_file=True)
    for name in columns.REQUIRED:
        if name not in places:
            missing = FieldFault(
                "E-CSV-COLUMN-MISSING", f"the column {name} is missing", "Compare with `edgemgr site template`."
            )
            faults.add(header.line, missing, column=name, of_file=True)
    return tuple(places.values())


class _RowReader:
    """Reads rows and remembers what may stand only once in a file."""

    def __init__(self, places: tuple[Place, ...], width: int, faults: Faults) -> None:
        self.count = 0
        self._places = places
        self._width = width
        self._faults = faults
        self._read: list[dict[str, Any]] = [{} for _ in places]
        self._line_of_name: dict[str, int] = {}
        self._line_of_key: dict[str, int] = {}

    def read(self, record: Record) -> Row | None:
        """Read a row; None if not a single cell of it can be relied on."""
        self.count += 1
        fault = record.fault
        if fault is None and len(record.cells) != self._width:
            fault = FieldFault(
                "E-CSV-CELLS",
                f"the row has {len(record.cells)} cells, the heading {self._width}",
                "Add or remove delimiters, and quote cells that contain one.",
            )
        if fault is not None:
            self._faults.add(record.line, fault, of_file=record.ends_file)
            return None
        return Row(record.line, tuple(self._cell(i, record) for i in range(len(self._places))))

    def _cell(self, number: int, record: Record) -> Any:
        place = self._places[number]
        text = record.cells[place.index]
        known = self._read[number]
        try:
            if text in known:
                value = known[text]
            else:
                _refuse_foreign_bytes(text)
                value = place.read(text)
                if len(known) >= _CACHE_LIMIT:
                    known.clear()
                known[text] = value
            self._refuse_second(place.column, value, record.line)
        except FieldFault as fault:
            shown = ("***" if text else "") if place.column.secret is SecretName.PASSWORD else text
            self._faults.add(
                record.line, fault, column=place.column.name, position=place.index + 1, value=shown.strip()
            )
            return INVALID
        return value

    def _refuse_second(self, column: Column, value: Any, line: int) -> None:
        if column.name == "name":
            first = self._line_of_name.setdefault(value, line)
            if first != line:
                raise FieldFault(
                    "E-CSV-NAME-TWICE", f"line {first} has this name already", "Give every site its own name."
                )
        elif column.name == "host_key" and value is not None:
            first = self._line_of_key.setdefault(value.fingerprint, line)
            if first != line:
                raise FieldFault(
                    "E-CSV-KEY-TWICE",
                    f"line {first} has this host key already",
                    "Two hosts never share a key: collect it again, or make a new one on a cloned host.",
                )


def _refuse_foreign_bytes(text: str) -> None:
    if not text.isascii() and any("\udc80" <= char <= "\udcff" for char in text):
        likely = text.encode("utf-8", "surrogateescape").decode("cp1252", "replace")
        raise FieldFault(
            "E-CSV-ENCODING", f"it is no UTF-8; in Windows-1252 it would read {likely!r}", "Save the file as CSV UTF-8."
        )
