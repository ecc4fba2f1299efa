"""Sites of which each tenth has something of its own, and the bundle to which they are to be upgraded."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from typer.testing import CliRunner, Result

from edgemgr.cli.main import app
from edgemgr.model.bundle_name import BundleName
from edgemgr.model.cluster import Cluster
from edgemgr.model.operation import Operation
from edgemgr.model.site import Site, SiteLabel
from edgemgr.model.timestamp import utc_now
from edgemgr.store.database import Database

VERSIONS = ("v1.34.1+k3s1", "v1.34.6+k3s1", "v1.35.2+k3s1", "v1.36.0+k3s1")
NAME = BundleName("retail", "stable", 3)
GIB = 1 << 30


def told() -> dict[str, Any]:
    return {
        "disk_free_bytes": 40 * GIB,
        "disk_size_bytes": 60 * GIB,
        "memory_bytes": 4 * GIB,
        "certificate_expires_at": f"{utc_now() + timedelta(days=300):%Y-%m-%dT%H:%M:%SZ}",
        "checked_at": f"{utc_now():%Y-%m-%dT%H:%M:%SZ}",
    }


def operation(site_id: int, kind: str, state: str, params: dict[str, Any]) -> Operation:
    now = utc_now()
    return Operation(
        site_id=site_id,
        kind=kind,
        state=state,
        is_head=state == "running",
        params=params,
        batch_key="x",
        request="r",
        actor="anna",
        deadline_at=now + timedelta(days=7),
        finished_at=now if state == "succeeded" else None,
    )


def add_fleet(database: Database, count: int) -> None:
    """Of ten sites: six are well at v1.33, and each of the others has something of its own."""
    with database.write() as session:
        sites = [
            Site(name=f"store-{n:04}", address=f"store-{n}.example", trust="pinned", timezone="Europe/Berlin")
            for n in range(count)
        ]
        session.add_all(sites)
        session.flush()
        for n, site in enumerate(sites):
            site_id = site.id or 0
            session.add(SiteLabel(site_id=site_id, key="region", value="emea" if n % 2 else "apac"))
            cluster = Cluster(
                site_id=site_id,
                reachability="reachable",
                contact_at=utc_now(),
                health="healthy",
                observed_at=utc_now(),
                k3s_version="v1.33.5+k3s1",
                arch="amd64",
                os="Debian GNU/Linux 12",
                facts=told(),
            )
            match n % 10:
                case 1:
                    cluster.k3s_version = "v1.36.0+k3s1"
                case 2:
                    cluster.arch = "arm64"
                case 3:
                    cluster.facts = {**told(), "disk_free_bytes": GIB}
                case 4:
                    cluster.reachability = "unreachable"
            session.add(cluster)
            session.add(operation(site_id, "bootstrap", "succeeded", {"version": "v1.33.5+k3s1", "k3s_config": {}}))
            if n % 10 == 5:
                session.add(operation(site_id, "stage", "succeeded", {"bundle": str(NAME)}))


def run(*words: str) -> Result:
    """Run `edgemgr upgrade`."""
    return CliRunner().invoke(app, ["upgrade", *words])
