"""A bundle is staged over a bad link that breaks in every way; bootstrap then sends nothing, a reset leaves nothing."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, NamedTuple

import pytest
from acceptance_stories import VERSION, import_sites
from bundle_stories import Link, Vendor
from testinfra.host import Host
from tests_support.appliance import Appliance, until

from edgemgr.lab.lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.slow]

BUNDLE = "retail/stable/1"
MIB = 1 << 20
IMAGES_MIB = 24
#: When so much was given to a connection, some of it has arrived: the next one will find more.
SOME = 1 << 20
BAD_LINK = {"delay_ms": 30.0, "loss_percent": 0.3, "rate_mbit": 10.0}
STATE = "/var/lib/edgemgr"
STORE = f"{STATE}/cache/sha256"


@pytest.fixture(scope="module")
def staged(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """An appliance with two bare sites whose only k3s release came in a bundle."""
    appliance = Appliance(tmp_path_factory.mktemp("appliance"), lab.directory)
    lab.up(2)
    import_sites(appliance, lab)
    assert Vendor(appliance, tmp_path_factory.mktemp("vendor"), images_mib=IMAGES_MIB).bring(1) == BUNDLE
    try:
        yield appliance
    finally:
        appliance.close()


def question(appliance: Appliance, sql: str, site: str) -> tuple[Any, ...]:
    """One row about a site, from the database itself: a program for each look would take the machine from the rest."""
    with closing(sqlite3.connect(appliance.directory / "state/edgemgr.db", timeout=30)) as database:
        row: tuple[Any, ...] = database.execute(sql, (site,)).fetchone() or ()
        return row


def state(appliance: Appliance, site: str) -> str:
    """Of the site's stage."""
    sql = "SELECT o.state FROM operation o JOIN site s ON s.id = site_id WHERE s.name = ? AND kind = 'stage'"
    return str(question(appliance, sql, site)[0])


class Coming(NamedTuple):
    """An attempt that sends, and how much its connection found at the site."""

    attempt: int
    held_bytes: int


def comes(
    appliance: Appliance, site: str, *, attempt: int | None = None, after: Coming | None = None, sent_bytes: int = 1
) -> Coming:
    """Wait until an attempt has sent so much over a connection that found more at the site than the one before.

    Without its number it is any: a site that boots may refuse a login, which costs an attempt of its own, or be back
    so soon that the same attempt finds it again.
    """
    sql = """
        SELECT o.attempts, t.held_bytes, t.sent_bytes FROM operation o
        JOIN site s ON s.id = o.site_id JOIN transfer t ON t.site_id = s.id
        WHERE s.name = ? AND o.kind = 'stage' AND o.state = 'running'
    """

    def has_come() -> Coming | None:
        row = question(appliance, sql, site)
        if not row or row[2] < sent_bytes or (after is not None and row[1] <= after.held_bytes):
            return None
        return Coming(*row[:2]) if attempt in (None, row[0]) else None

    which = "an attempt" if attempt is None else f"attempt {attempt}"
    found: Coming = until(f"{which} sends more than {after}", has_come, 90)
    return found


def test_a_stage_survives_whatever_breaks_and_bootstrap_sends_nothing_again(
    lab: Lab, staged: Appliance, look: Callable[[str], Host]
) -> None:
    serving = staged.serve()
    lab.degrade("site-2", **BAD_LINK)
    staged.run("stage", BUNDLE, "site-2")

    # The link is away for a while, and the connection outlives it.
    held = comes(staged, "site-2", attempt=1, sent_bytes=SOME)
    lab.cut("site-2")
    time.sleep(2)
    lab.restore("site-2")
    lab.degrade("site-2", **BAD_LINK)
    lab.run("site-2", ["sh", "-c", "kill -9 $(pgrep -f 'sshd: .*@')"])  # sshd dies: the same attempt goes on

    # The site loses its power.
    held = comes(staged, "site-2", attempt=1, after=held, sent_bytes=SOME)
    lab.power_cut("site-2")
    lab.restore("site-2")
    lab.degrade("site-2", **BAD_LINK)

    # The appliance dies.
    held = comes(staged, "site-2", after=held, sent_bytes=SOME)
    staged.kill(serving)
    staged.serve()

    comes(staged, "site-2", after=held)
    until("site-2 has all of it", lambda: state(staged, "site-2") == "succeeded", 120)
    (status,) = staged.items("stage", "status", "site-2")
    assert status["done_bytes"] == status["total_bytes"] > IMAGES_MIB * MIB
    assert status["rate_bytes_s"]
    site = look("site-2")
    stored = {name: site.file(f"{STORE}/{name}").inode for name in site.file(STORE).listdir()}
    assert len(stored) == 2, "the program and the images, no loose layers"
    assert site.file(f"{STATE}/incoming").listdir() == []

    lab.degrade("site-2", delay_ms=0, loss_percent=0, rate_mbit=1)  # it would take more than three minutes
    staged.run("bootstrap", "site-2", "--version", VERSION, "--wait", "--timeout", "2m", timeout_s=150)
    assert staged.site("site-2")["health"] == "healthy"
    assert {name: site.file(f"{STORE}/{name}").inode for name in site.file(STORE).listdir()} == stored


def test_an_operator_need_not_wait_for_a_stage_and_a_bootstrap_sends_only_what_is_left_of_it(
    lab: Lab, staged: Appliance, look: Callable[[str], Host]
) -> None:
    staged.close()
    staged.serve()
    staged.run("stage", "limit", "all", "1M")
    link = Link(lab, "site-1")
    staged.run("stage", BUNDLE, "site-1")
    held = comes(staged, "site-1", attempt=1)
    staged.run("probe", "site-1", "--wait", "--timeout", "30s")
    assert state(staged, "site-1") in {"queued", "running"}
    comes(staged, "site-1", after=held)
    time.sleep(5)  # so that what would travel twice is more than what may be added to it
    staged.run("bootstrap", "site-1", "--version", VERSION, "--wait", "--timeout", "2m", timeout_s=150)
    assert staged.site("site-1")["health"] == "healthy"
    staged.run("stage", "limit", "all", "none")
    until("the stage has nothing left to do", lambda: state(staged, "site-1") == "succeeded", 30)
    (status,) = staged.items("stage", "status", "site-1")
    assert link.since() < 1.05 * status["total_bytes"] + 2 * MIB, "the bootstrap took the same road"

    site = look("site-1")
    site.check_output(f"mkdir -p {STATE}/incoming/7.0 && touch {STATE}/incoming/7.0/left.part")
    staged.run("reset", "site-1", "--yes", "--wait", "--timeout", "60s")
    assert site.file(STATE).listdir() == ["fence.json"], "a reset leaves nothing of what was staged"
