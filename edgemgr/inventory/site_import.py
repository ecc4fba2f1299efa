"""CSV → sites: read, plan, apply. A dry run is the same, without the last step.

The file is read before the database is locked, compared and written in one transaction: whole file or nothing,
unless the good rows are asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

from edgemgr.inventory.csv_file import CsvFile
from edgemgr.inventory.import_report import SHOWN_CHANGES, Faults, ImportReport
from edgemgr.inventory.sheet import read_sheet
from edgemgr.inventory.site_plan import Planner, SitePlan
from edgemgr.store import sites
from edgemgr.store.database import Database, Session
from edgemgr.store.secrets import Sealer

CHUNK = 2000

#: Called with what is being done, and how much of it of how much: `reading` in bytes of which nobody knows how many
#: there are (0), `comparing` and `writing` in rows.
Progress = Callable[[str, int, int], None]


def no_progress(step: str, done: int, total: int) -> None:
    """Tell nobody."""


def import_sites(
    database: Database,
    vault: Sealer,
    source: BinaryIO,
    *,
    actor: str,
    dry_run: bool = False,
    good_rows: bool = False,
    progress: Progress = no_progress,
) -> ImportReport:
    """Bring the inventory to what a CSV file says.

    Args:
        database: the inventory.
        vault: seals passwords and keys.
        source: the file.
        actor: who is named in events.
        dry_run: change nothing, only report.
        good_rows: take the rows without fault even if others have one. Faults of the heading still refuse all.
        progress: is told how far it is.

    Raises:
        StoreError: the database cannot be used; nothing was changed.
        VaultError: a secret cannot be sealed, or an older one not be opened; nothing was changed.
    """
    faults = Faults()
    sheet = read_sheet(CsvFile(source), faults, lambda done: progress("reading", done, 0))
    report = ImportReport(is_dry_run=dry_run, rows=len(sheet.rows))

    def work(session: Session) -> None:
        planner = Planner(session, vault, sheet, faults)
        plan = planner.plan(lambda done: progress("comparing", done, len(sheet.rows)))
        _tell(report, plan, faults)
        may_apply = report.is_clean or (good_rows and not faults.header_lines)
        if may_apply and not dry_run:
            _apply(session, planner, plan, actor=actor, progress=progress)
            report.is_applied = True

    if dry_run:
        with database.read() as session:
            work(session)
    else:
        with database.write() as session:
            work(session)
    return report


def _tell(report: ImportReport, plan: SitePlan, faults: Faults) -> None:
    report.created = len(plan.creates)
    report.changed = len(plan.changes)
    report.unchanged = len(plan.unchanged)
    report.refused = len(faults.lines - faults.header_lines)
    report.fault_total = faults.total
    report.faults = faults.in_order()
    report.bad_lines = faults.lines
    report.changes = [change for _, change in plan.changes[:SHOWN_CHANGES]]


def _apply(session: Session, planner: Planner, plan: SitePlan, *, actor: str, progress: Progress) -> None:
    total = len(plan.creates) + len(plan.changes)
    for start in range(0, len(plan.creates), CHUNK):
        part = plan.creates[start : start + CHUNK]
        sites.create(session, planner.vault, [planner.new_site(row) for row in part], actor=actor)
        progress("writing", start + len(part), total)
    for start in range(0, len(plan.changes), CHUNK):
        changes = [change for _, change in plan.changes[start : start + CHUNK]]
        sites.change(session, planner.vault, changes, actor=actor)
        progress("writing", len(plan.creates) + start + len(changes), total)
