"""docs/csv.md, held against the columns and limits of the import."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests_support.csv_page import column_table

from edgemgr.inventory import csv_file

PAGE = Path(__file__).parent.parent / "docs/csv.md"


def test_the_table_of_columns_is_the_one_that_the_import_reads() -> None:
    table = column_table()
    shown = "\n".join(line for line in PAGE.read_text().splitlines() if line.startswith("|"))
    assert shown == table, f"the table of docs/csv.md should read\n{table}"


@pytest.mark.parametrize(
    "limit",
    [
        f"{csv_file.ROW_LIMIT:,} rows",
        f"{csv_file.FILE_LIMIT_BYTES >> 20} MiB",
        f"{csv_file.LINE_LIMIT_BYTES:,} bytes a line",
        f"{csv_file.CELL_LIMIT:,} characters a cell",
    ],
)
def test_the_page_tells_the_limits_of_the_file(limit: str) -> None:
    assert limit in PAGE.read_text()
