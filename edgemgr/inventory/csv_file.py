"""Bytes of a CSV file → records with their true line numbers, one at a time, whatever the bytes are.

UTF-8 with or without a byte order mark; comma, semicolon or tab (Excel writes semicolons where the comma is the
decimal sign); LF or CR LF; quoted cells with line breaks. Lines, cells and rows are limited, so that no file can
take all memory.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from edgemgr.inventory.columns import BY_NAME, LABEL_PREFIX
from edgemgr.inventory.field_fault import FieldFault

LINE_LIMIT_BYTES = 64 * 1024
CELL_LIMIT = 16 * 1024
ROW_LIMIT = 200_000
FILE_LIMIT_BYTES = 256 * 1024 * 1024
DELIMITERS = ",;\t"

_BOM = b"\xef\xbb\xbf"
_SAVE_AS_UTF8 = "Save the file as CSV UTF-8 (in Excel: Save As, CSV UTF-8)."


@dataclass(frozen=True, slots=True)
class Record:
    """One row as it stands in the file."""

    line: int  #: number of the line on which it begins; the first is 1
    cells: list[str]  #: bytes that are no UTF-8 appear as lone surrogates U+DC80 to U+DCFF
    fault: FieldFault | None = None  #: why the row cannot be read; there are no cells then
    ends_file: bool = False  #: what follows it was not read


class CsvFile:
    """A file that is read from beginning to end, once."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self.bytes_read = 0
        self._line_too_long = False
        self._lines = self._decoded_lines()
        first = next(self._lines, "")
        self.header_fault = _header_fault(first) if not self._line_too_long else _line_too_long()
        self.delimiter = _delimiter(first)
        self._first = first

    def records(self) -> Iterator[Record]:
        """The heading and then the rows, without empty lines. Ends early after a record that `ends_file`."""
        reader = csv.reader(self._with_first(), delimiter=self.delimiter, strict=True)
        rows = 0
        while True:
            line = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as exc:
                fault, ends_file = self._row_fault(str(exc))
                yield Record(line, [], fault, ends_file)
                if ends_file:
                    return
                continue
            if self._line_too_long:
                self._line_too_long = False
                yield Record(line, [], _line_too_long())
                continue
            if not any(cells):
                continue
            rows += 1
            if rows > ROW_LIMIT + 1 or self.bytes_read > FILE_LIMIT_BYTES:
                what = f"more than {ROW_LIMIT} rows or {FILE_LIMIT_BYTES >> 20} MiB"
                yield Record(
                    line, [], FieldFault("E-CSV-LIMIT", f"the file has {what}", "Import it in parts."), ends_file=True
                )
                return
            if any(len(cell) > CELL_LIMIT for cell in cells):
                fault = FieldFault("E-CSV-LIMIT", f"a cell has more than {CELL_LIMIT} characters", "Shorten it.")
                yield Record(line, [], fault)
                continue
            yield Record(line, cells)

    def _row_fault(self, message: str) -> tuple[FieldFault, bool]:
        if self._line_too_long:
            self._line_too_long = False
            return _line_too_long(), False
        if "new-line character" in message:
            return FieldFault(
                "E-CSV-LINE-END", "a carriage return stands inside the row", "End lines with LF or CR LF."
            ), False
        if "end of data" in message or "field larger" in message:
            return FieldFault(
                "E-CSV-QUOTE",
                "a quotation mark is opened here and never closed; the rest of the file was not read",
                "Close it, or double it where it is part of the text.",
            ), True
        return FieldFault(
            "E-CSV-QUOTE",
            "text follows a closing quotation mark",
            "Quote the whole cell, and double quotation marks inside it.",
        ), False

    def _with_first(self) -> Iterator[str]:
        yield self._first
        yield from self._lines

    def _decoded_lines(self) -> Iterator[str]:
        while raw := self._source.readline(LINE_LIMIT_BYTES + 1):
            if not self.bytes_read:
                raw = raw.removeprefix(_BOM)
            self.bytes_read += len(raw)
            if len(raw) > LINE_LIMIT_BYTES:
                self._line_too_long = True
                self._skip_line(raw)
                yield "\n"
                continue
            yield raw.decode("utf-8", "surrogateescape")

    def _skip_line(self, raw: bytes) -> None:
        while raw and not raw.endswith(b"\n"):
            raw = self._source.readline(LINE_LIMIT_BYTES)
            self.bytes_read += len(raw)


def _header_fault(first: str) -> FieldFault | None:
    """Why this cannot be the beginning of a CSV file at all."""
    if not first:
        return FieldFault("E-CSV-EMPTY", "the file is empty", "See `edgemgr site template` for the first line.")
    if first.startswith("PK\x03\x04"):
        return FieldFault("E-CSV-FORMAT", "this is an Excel workbook or a ZIP file", _SAVE_AS_UTF8)
    if "\x00" in first or first.startswith(("\udcff\udcfe", "\udcfe\udcff")):
        return FieldFault("E-CSV-ENCODING", "this is no UTF-8 text, but perhaps UTF-16", _SAVE_AS_UTF8)
    return None


def _line_too_long() -> FieldFault:
    return FieldFault(
        "E-CSV-LIMIT", f"the line has more than {LINE_LIMIT_BYTES} bytes", "Look whether line ends are missing."
    )


def _delimiter(header: str) -> str:
    """Choose the delimiter by which the heading has the most columns that we know."""

    def known(delimiter: str) -> tuple[int, int]:
        names = [name.strip(' "\r\n') for name in header.split(delimiter)]
        return sum(name in BY_NAME or name.startswith(LABEL_PREFIX) for name in names), len(names)

    return max(DELIMITERS, key=known)
