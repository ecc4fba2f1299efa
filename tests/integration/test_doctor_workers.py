"""`edgemgr doctor` about workers: who lives, where, and whether their clock can be believed."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from tests_support.appliance import Appliance

from edgemgr.model.operation import OperationKind
from edgemgr.model.site import Site, SiteLabel
from edgemgr.model.timestamp import utc_now
from edgemgr.model.worker import Worker
from edgemgr.operations.submit import submit
from edgemgr.queue.identity import new_worker
from edgemgr.store.database import Database


@pytest.fixture
def appliance(tmp_path: Path) -> Appliance:
    appliance = Appliance(tmp_path, tmp_path / "lab")
    appliance.attempt("doctor")
    return appliance


def register(appliance: Appliance, **changes: object) -> str:
    """This process as a worker, and one site of zone south for which something waits."""
    worker = new_worker(["north"])
    for name, value in changes.items():
        setattr(worker, name, value)
    database = Database(f"sqlite:///{appliance.directory / 'state' / 'edgemgr.db'}")
    with database.write() as session:
        site = Site(name="site-1", address="192.0.2.1")
        session.add_all([worker, site])
        session.flush()
        session.add(SiteLabel(site_id=site.id or 0, key="zone", value="south"))
        submit(session, OperationKind.VERIFY, {}, [site.id or 0], actor="test")
        name = session.get_one(Worker, worker.id).id
    database.close()
    return name


def findings(appliance: Appliance) -> dict[str, dict[str, str]]:
    done = appliance.attempt("doctor", "-o", "json")
    return {finding["check"]: finding for finding in json.loads(done.stdout)["items"]}


def test_a_worker_that_lives_is_named_with_its_beats_and_zones(appliance: Appliance) -> None:
    name = register(appliance, beats=5)
    found = findings(appliance)
    assert found[f"worker {name}"]["verdict"] == "ok"
    assert "beat 5" in found[f"worker {name}"]["detail"]
    assert "north" in found[f"worker {name}"]["detail"]
    assert found["clock"]["verdict"] == "ok"


def test_a_zone_in_which_sites_wait_for_a_worker_is_named(appliance: Appliance) -> None:
    register(appliance)
    found = findings(appliance)["zones"]
    assert (found["verdict"], "south" in found["detail"]) == ("warn", True)


def test_a_clock_that_jumped_is_a_warning(appliance: Appliance) -> None:
    register(appliance, clock_jumps=2)
    found = findings(appliance)["clock"]
    assert (found["verdict"], "2" in found["detail"]) == ("warn", True)


def test_a_worker_that_fell_silent_is_a_warning(appliance: Appliance) -> None:
    name = register(appliance, heartbeat_at=utc_now() - timedelta(minutes=5))
    assert findings(appliance)[f"worker {name}"]["verdict"] == "warn"


def test_a_worker_whose_process_is_gone_does_not_count(appliance: Appliance) -> None:
    register(appliance, pid_started=1)
    assert "none runs" in findings(appliance)["workers"]["detail"]
