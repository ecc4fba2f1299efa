"""A fleet in the database for tests of the console: some of everything that a page must show."""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path
from typing import Any

from edgemgr.model.attempt import Attempt
from edgemgr.model.cluster import Cluster
from edgemgr.model.event import Event
from edgemgr.model.operation import Operation
from edgemgr.model.site import Site, SiteLabel
from edgemgr.model.timestamp import utc_now
from edgemgr.store.database import Database

VERSION = "v1.33.5+k3s1"
NEWER = "v1.34.1+k3s1"
FACTS: dict[str, Any] = {
    "kernel": "6.1.0-28-amd64",
    "cpus": 4,
    "memory_bytes": 8 << 30,
    "disk_free_bytes": 41 << 30,
    "disk_size_bytes": 120 << 30,
    "pods_ready": 6,
    "pods_total": 7,
    "kubelet_version": VERSION,
    "certificate_expires_at": "2027-08-03T10:00:00Z",
    "boot_at": "2026-11-02T04:12:00Z",
}


def add_site(database: Database, name: str, *, labels: dict[str, str] | None = None, **fields: Any) -> int:
    """One site, pinned unless said otherwise."""
    with database.write() as session:
        site = Site(
            **{
                "name": name,
                "address": "192.0.2.7",
                "trust": "pinned",
                "host_key_fingerprint": "SHA256:uNiTjw4X2mTqG9pYk3hE1sV0cQ8rLzBf6aWdJxOe5yI",
                "k3s_version": VERSION,
                **fields,
            }
        )
        session.add(site)
        session.flush()
        for key, value in (labels or {}).items():
            session.add(SiteLabel(site_id=site.id or 0, key=key, value=value))
        return site.id or 0


def add_cluster(database: Database, site_id: int, **fields: Any) -> None:
    """What was observed; healthy a moment ago unless said otherwise."""
    now = utc_now()
    with database.write() as session:
        session.add(
            Cluster(
                **{
                    "site_id": site_id,
                    "reachability": "reachable",
                    "tried_at": now - timedelta(seconds=8),
                    "contact_at": now - timedelta(seconds=8),
                    "health": "healthy",
                    "observed_at": now - timedelta(seconds=95),
                    "k3s_version": VERSION,
                    "node_name": "node",
                    "os": "Debian GNU/Linux 12 (bookworm)",
                    "arch": "amd64",
                    "cluster_id": "5c1f0f0e-7a9d-4a35-9a53-3d0a4b1f9d11",
                    "facts": FACTS,
                    **fields,
                }
            )
        )


def add_operation(
    database: Database, site_id: int, kind: str = "bootstrap", state: str = "queued", **fields: Any
) -> int:
    """One operation, asked for two minutes ago."""
    now = utc_now()
    is_open = state in ("queued", "running")
    with database.write() as session:
        operation = Operation(
            **{
                "site_id": site_id,
                "kind": kind,
                "state": state,
                "is_head": is_open,
                "batch_key": kind,
                "request": "r-1",
                "actor": "ada",
                "created_at": now - timedelta(minutes=2),
                "deadline_at": now + timedelta(days=7),
                "finished_at": None if is_open else now - timedelta(minutes=1),
                **fields,
            }
        )
        session.add(operation)
        session.flush()
        return operation.id or 0


def add_attempt(database: Database, operation_id: int, number: int = 1, **fields: Any) -> int:
    """One attempt, begun 40 seconds ago and not settled unless said otherwise."""
    now = utc_now()
    with database.write() as session:
        attempt = Attempt(
            **{
                "operation_id": operation_id,
                "number": number,
                "worker_id": "w-1",
                "batch": "b-1",
                "started_at": now - timedelta(seconds=40),
                **fields,
            }
        )
        session.add(attempt)
        session.flush()
        return attempt.id or 0


def write_log(log_dir: Path, attempt_id: int, text: str) -> None:
    """The log of an attempt that is not settled."""
    path = log_dir / str(attempt_id // 1000) / f"{attempt_id}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def add_event(database: Database, site_id: int, reason: str, message: str, **fields: Any) -> None:
    """One event of a site."""
    with database.write() as session:
        session.add(Event(**{"reason": reason, "message": message, "actor": "queue", "site_id": site_id, **fields}))


def add_fleet(database: Database, count: int) -> None:
    """Many sites in every state, the same ones each time."""
    chance = random.Random(7)  # noqa: S311 - not for secrets
    now = utc_now()
    states = [("healthy", "")] * 14 + [
        ("degraded", "not ready: deployment metrics-server"),
        ("failing", "the node is not ready: container runtime network not ready: cni plugin not initialized"),
    ]
    with database.write() as session:
        for number in range(1, count + 1):
            site = Site(
                name=f"store-{number:05d}",
                address=f"192.0.2.{number % 250 + 1}",
                trust="pinned",
                k3s_version=chance.choice([VERSION, VERSION, VERSION, NEWER]),
            )
            session.add(site)
            session.flush()
            site_id = site.id or 0
            session.add(SiteLabel(site_id=site_id, key="region", value=chance.choice(["emea", "amer", "apac"])))
            session.add(SiteLabel(site_id=site_id, key="ring", value=chance.choice(["canary", "early", "broad"])))
            health, reason = chance.choice(states)
            is_away = chance.random() < 0.08
            contact_at = now - timedelta(seconds=chance.randrange(90_000) if is_away else chance.randrange(280))
            if number % 23 == 0:
                continue  # never tried
            session.add(
                Cluster(
                    site_id=site_id,
                    reachability="unreachable" if is_away else "reachable",
                    reachability_reason="192.0.2.1 port 22: timed out after 4 s" if is_away else "",
                    tried_at=now,
                    contact_at=contact_at,
                    health=health,
                    health_reason=reason,
                    observed_at=contact_at,
                    k3s_version=VERSION,
                    facts=FACTS,
                )
            )
            if is_away or number % 17 == 0:
                operation = Operation(
                    site_id=site_id,
                    kind="bootstrap",
                    state="queued" if is_away else "running",
                    is_head=True,
                    batch_key="bootstrap",
                    request="r-1",
                    actor="ada",
                    attempts=1,
                    created_at=now - timedelta(minutes=7),
                    deadline_at=now + timedelta(days=7),
                    waiting_for="contact" if is_away else "turn",
                    message="192.0.2.1 port 22: timed out after 4 s" if is_away else "",
                )
                session.add(operation)
                session.flush()
                session.add(
                    Attempt(
                        operation_id=operation.id or 0,
                        number=1,
                        worker_id="w-1",
                        batch="b-1",
                        outcome="unreachable" if is_away else None,
                    )
                )
