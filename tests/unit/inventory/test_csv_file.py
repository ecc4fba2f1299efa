from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemgr.inventory import csv_file
from edgemgr.inventory.csv_file import CsvFile, Record
from edgemgr.inventory.import_report import Faults
from edgemgr.inventory.sheet import INVALID, Sheet, read_sheet


def _records(content: bytes) -> list[Record]:
    return list(CsvFile(io.BytesIO(content)).records())


def _read(content: bytes) -> tuple[Sheet, list[tuple[int, str | None, str]]]:
    faults = Faults()
    sheet = read_sheet(CsvFile(io.BytesIO(content)), faults, lambda done: None)
    return sheet, [(fault.line, fault.column, fault.code) for fault in faults.in_order()]


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("delimiter", [b",", b";", b"\t"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_files_of_every_kind_give_the_same_rows(bom: bytes, delimiter: bytes, end: bytes) -> None:
    lines = [b"name,address,notes", b'a,192.0.2.1,"x, y; z\tw"', b"", b"b,192.0.2.2,"]
    content = bom + end.join(
        line if b'"' in line and delimiter == b"," else _with_delimiter(line, delimiter) for line in lines
    )
    sheet, faults = _read(content)
    assert faults == []
    assert [(row.line, row.values) for row in sheet.rows] == [
        (2, ("a", "192.0.2.1", "x, y; z\tw")),
        (4, ("b", "192.0.2.2", None)),
    ]


def _with_delimiter(line: bytes, delimiter: bytes) -> bytes:
    head, quote, tail = line.partition(b'"')
    return head.replace(b",", delimiter) + quote + tail


def test_line_numbers_are_those_of_the_file_after_quoted_line_breaks() -> None:
    records = _records(b'name,address,notes\na,1,"one\ntwo\r\nthree"\n\n\nb,2,\n')
    assert [(record.line, record.cells) for record in records[1:]] == [
        (2, ["a", "1", "one\ntwo\r\nthree"]),
        (7, ["b", "2", ""]),
    ]


def test_rows_of_empty_cells_are_passed_over() -> None:
    assert len(_records(b"name,address\na,b\n,\n\n,\n")) == 2


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "E-CSV-EMPTY"),
        (b"PK\x03\x04rest", "E-CSV-FORMAT"),
        ("name,address\n".encode("utf-16"), "E-CSV-ENCODING"),
        ("name,address\n".encode("utf-16-le"), "E-CSV-ENCODING"),
        (b"name,address\n", "E-CSV-EMPTY"),
        (b"x" * (csv_file.LINE_LIMIT_BYTES + 5), "E-CSV-LIMIT"),
        (b"name,address\ra,192.0.2.1\r", "E-CSV-LINE-END"),
    ],
)
def test_what_is_no_csv_file_is_refused_as_a_whole(content: bytes, code: str) -> None:
    sheet, faults = _read(content)
    assert faults[0][2] == code
    assert sheet.rows == []


def test_a_quote_that_is_never_closed_is_told_where_it_opens() -> None:
    _, faults = _read(b'name,address\na,192.0.2.1\nb,"192.0.2.2\nc,192.0.2.3\n')
    assert faults == [(3, None, "E-CSV-QUOTE")]


def test_a_very_long_line_is_refused_and_the_next_one_read() -> None:
    long = b"a," + b"x" * (3 * csv_file.LINE_LIMIT_BYTES)
    sheet, faults = _read(b"name,address\n" + long + b"\nb,192.0.2.2\n")
    assert faults == [(2, None, "E-CSV-LIMIT")]
    assert [row.line for row in sheet.rows] == [3]


def test_a_very_long_cell_is_refused() -> None:
    _, faults = _read(b"name,address\na," + b"x" * (csv_file.CELL_LIMIT + 1) + b"\n")
    assert faults == [(2, None, "E-CSV-LIMIT")]


def test_too_many_rows_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_file, "ROW_LIMIT", 2)
    _, faults = _read(b"name,address\na,192.0.2.1\nb,192.0.2.2\nc,192.0.2.3\nd,192.0.2.4\n")
    assert faults == [(4, None, "E-CSV-LIMIT")]


def test_bytes_that_are_no_utf8_are_told_by_cell_with_their_likely_meaning() -> None:
    faults = Faults()
    content = b"name,address,notes\na,192.0.2.1,B\xfcro\nb,192.0.2.2,fine\n"
    sheet = read_sheet(CsvFile(io.BytesIO(content)), faults, lambda done: None)
    (fault,) = faults.kept
    assert (fault.line, fault.column, fault.position, fault.code) == (2, "notes", 3, "E-CSV-ENCODING")
    assert "'Büro'" in fault.message
    assert sheet.rows[0].values[2] is INVALID
    str(fault).encode()  # can be printed


def test_a_password_is_taken_as_it_stands_and_never_shown() -> None:
    faults = Faults()
    content = b"name,address,password\na,192.0.2.1, '=x \nb,192.0.2.2,canary\x07\n"
    sheet = read_sheet(CsvFile(io.BytesIO(content)), faults, lambda done: None)
    assert sheet.rows[0].values[2] == " '=x "
    (fault,) = faults.kept
    assert fault.value == "***"
    assert "canary" not in repr(faults.kept)


def test_the_column_error_of_a_file_of_bad_rows_is_passed_over() -> None:
    sheet, faults = _read(b"name,error,address\na,whatever {{,192.0.2.1\n")
    assert faults == []
    assert sheet.rows[0].values == ("a", "192.0.2.1")


@given(st.binary(max_size=300))
def test_any_bytes_give_rows_or_faults_but_never_a_crash(content: bytes) -> None:
    sheet, faults = _read(content)
    assert sheet.rows or faults


@given(st.lists(st.binary(max_size=40).map(lambda cell: cell.replace(b"\n", b"")), min_size=1, max_size=5))
def test_any_bytes_below_a_good_heading_give_rows_or_faults(cells: list[bytes]) -> None:
    sheet, faults = _read(b"name,address,port,user,notes,labels.a\n" + b"\n".join(cells))
    told = {line for line, _, _ in faults}
    assert all(row.line in told or INVALID not in row.values for row in sheet.rows)
    assert sheet.rows or faults
