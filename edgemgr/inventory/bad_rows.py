"""The rows that an import refused, as a file to mend and import again: the cells as they were, and a column `error`."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import BinaryIO

from edgemgr.errors import InventoryError
from edgemgr.inventory.columns import ERROR_COLUMN
from edgemgr.inventory.csv_file import CsvFile
from edgemgr.inventory.formula import defuse, restore
from edgemgr.inventory.import_report import ImportReport
from edgemgr.model.secret import SecretName


def write_bad_rows(source: BinaryIO, report: ImportReport, target: Path) -> int:
    """Copy the refused rows of `source`, which is read again from its beginning; returns how many.

    Passwords are left out. Rows whose cells cannot be told apart come with the error alone.

    Raises:
        InventoryError: the file cannot be written.
    """
    errors: dict[int, list[str]] = {}
    for fault in report.faults:
        errors.setdefault(fault.line, []).append(f"{fault.column or 'row'}: {fault.message}. {fault.hint}".strip())
    source.seek(0)
    file = CsvFile(source)
    written = 0
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape", newline="") as out:
            writer = csv.writer(out, delimiter=file.delimiter, lineterminator="\n")
            records = file.records()
            header = [restore(cell).strip() for cell in next(records).cells]
            kept = [index for index, name in enumerate(header) if name != ERROR_COLUMN]
            writer.writerow([*(header[index] for index in kept), ERROR_COLUMN])
            for record in records:
                if record.line not in report.bad_lines:
                    continue
                cells = [_cell(header, record.cells, index) for index in kept]
                writer.writerow([*cells, defuse("; ".join(errors.get(record.line, ["refused"])))])
                written += 1
    except OSError as exc:
        raise InventoryError(
            f"the bad rows cannot be written to {target}: {exc.strerror}",
            hint="Name another file by --bad-rows; importing again with it changes nothing else.",
            code="E-CSV-BAD-ROWS",
        ) from exc
    return written


def _cell(header: list[str], cells: list[str], index: int) -> str:
    if index >= len(cells) or header[index] == SecretName.PASSWORD:
        return ""
    return defuse(restore(cells[index]))
