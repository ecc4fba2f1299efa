"""Sites → CSV, with the columns of the import. No secrets; cells that a spreadsheet would run are defused."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import TextIO

from edgemgr.inventory.columns import COLUMNS, LABEL_PREFIX, Column
from edgemgr.inventory.compare import text_of
from edgemgr.inventory.formula import defuse
from edgemgr.store import stored_sites
from edgemgr.store.database import Database
from edgemgr.store.queries import in_chunks

EXPORTED = tuple(column for column in COLUMNS if column.secret is None)


def export_sites(database: Database, site_ids: Sequence[int], target: TextIO) -> None:
    """Write sites in the order of `site_ids`; importing the file again changes nothing."""
    with database.read() as session:
        keys = stored_sites.label_keys(session, site_ids)
        writer = csv.writer(target, lineterminator="\n")
        writer.writerow([column.name for column in EXPORTED] + [f"{LABEL_PREFIX}{key}" for key in keys])
        for part in in_chunks(site_ids):
            for site in stored_sites.by_id(session, part):
                cells = [text_of(column.name, site.values) for column in EXPORTED]
                cells += [site.labels.get(key, "") for key in keys]
                writer.writerow([defuse(cell) for cell in cells])


def write_template(target: TextIO) -> None:
    """Write the heading and one row that can be imported as it is."""
    shown: tuple[Column, ...] = COLUMNS
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow([*(column.name for column in shown), f"{LABEL_PREFIX}region"])
    writer.writerow([*(defuse(column.example) for column in shown), "emea"])
