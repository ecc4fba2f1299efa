"""The same appliance on PostgreSQL, with two workers that share the work."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from acceptance_stories import VERSION, import_sites
from tests_support.appliance import Appliance
from tests_support.postgresql import PostgresServer

from edgemgr.lab.lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.slow]


@pytest.fixture
def shared(lab: Lab, postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """An appliance whose state is in PostgreSQL."""
    appliance = Appliance(
        tmp_path_factory.mktemp("shared"),
        lab.directory,
        EDGEMGR_DATABASE_URL=postgres_server.new_database(),
        EDGEMGR_BATCH_SIZE="1",
    )
    release = tmp_path_factory.mktemp("releases") / VERSION
    appliance.run("lab", "release", "--version", VERSION, str(release))
    appliance.run("release", "add", str(release))
    yield appliance
    appliance.close()


def test_two_workers_share_the_sites_of_one_request(lab: Lab, shared: Appliance) -> None:
    lab.up(3, light=True)
    import_sites(shared, lab)
    shared.serve()
    shared.start("worker")
    shared.run("bootstrap", "--all", "--version", VERSION, "--wait", "--timeout", "4m", timeout_s=300)
    assert {site["health"] for site in shared.items("site", "list")} == {"healthy"}
    operations = shared.items("operation", "list")
    assert [(item["state"], item["attempts"]) for item in operations] == [("succeeded", 1)] * 3
    assert not (shared.directory / "state" / "edgemgr.db").exists()
