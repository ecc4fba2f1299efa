"""100,000 sites: into the inventory, and in again."""

from __future__ import annotations

import base64
import hashlib
import io
import time
from pathlib import Path

import pytest

from edgemgr.inventory.import_report import ImportReport
from edgemgr.inventory.site_import import import_sites
from edgemgr.model.selector_text import parse_filter
from edgemgr.store import queries, schema
from edgemgr.store.database import Database
from edgemgr.vault.vault import Vault

ROWS = 100_000
IMPORT_LIMIT_S = 60
REPEAT_LIMIT_S = 30
PAGE_LIMIT_S = 1.0


def _content() -> bytes:
    lines = ["name,address,user,host_key,arch,timezone,latitude,longitude,labels.region,labels.tier,notes"]
    for number in range(ROWS):
        digest = base64.b64encode(hashlib.sha256(str(number).encode()).digest()).decode().rstrip("=")
        region = ("emea", "apac", "amer")[number % 3]
        address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        lines.append(
            f"store-{number:06},{address},edge,SHA256:{digest},amd64,Europe/Berlin,"
            f"{number % 90},{number % 180},{region},t{number % 7},site number {number}"
        )
    return "\n".join(lines).encode()


@pytest.mark.slow
def test_100_000_rows_go_in_at_once_and_a_second_time_there_is_nothing_to_do(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'edgemgr.db'}")
    schema.upgrade(database)
    vault = Vault.open(tmp_path / "secret.key")
    content = _content()
    steps: list[str] = []

    def run() -> tuple[ImportReport, float]:
        started = time.monotonic()
        report = import_sites(
            database, vault, io.BytesIO(content), actor="tester", progress=lambda step, done, total: steps.append(step)
        )
        return report, time.monotonic() - started

    try:
        first, first_s = run()
        second, second_s = run()
        with database.read() as session:
            started = time.monotonic()
            rows, total = queries.list_sites(
                session, where=parse_filter("region=emea tier=t3"), sort="health", limit=50
            )
            page_s = time.monotonic() - started
    finally:
        database.close()
    assert (first.created, first.refused, first.is_applied) == (ROWS, 0, True)
    assert (second.created, second.changed, second.unchanged) == (0, 0, ROWS)
    assert (len(rows), total) == (50, sum(1 for number in range(ROWS) if number % 3 == 0 and number % 7 == 3))
    assert {"reading", "comparing", "writing"} <= set(steps)
    assert first_s < IMPORT_LIMIT_S
    assert second_s < REPEAT_LIMIT_S
    assert page_s < PAGE_LIMIT_S
