"""The queue in the console, as a page and as JSON."""

from __future__ import annotations

from dataclasses import fields
from datetime import timedelta

from fastapi.testclient import TestClient
from sqlmodel import col, update
from tests_support.console_fleet import add_attempt, add_operation, add_site

from edgemgr.app import App
from edgemgr.model.limit import QueueLimit
from edgemgr.model.site import Site
from edgemgr.model.timestamp import utc_now
from edgemgr.model.worker import Worker
from edgemgr.store.database import Database
from edgemgr.store.queue_status import QueueStatus


def add_worker(database: Database) -> None:
    with database.write() as session:
        session.add(Worker(id="w-1", host="h", boot_id="b", pid=1, pid_started=1, version="0"))


def pause(database: Database, name: str, why: str) -> None:
    with database.write() as session:
        session.execute(update(Site).where(col(Site.name) == name).values(paused_at=utc_now(), paused_why=why))


def test_an_idle_queue_says_so_and_that_nobody_works(client: TestClient) -> None:
    html = client.get("/queue").text
    for text in ("Nothing waits.", "Nothing runs.", "No worker runs", "whole appliance"):
        assert text in html


def test_what_runs_and_waits_is_shown_with_reasons_and_links(app: App, client: TestClient) -> None:
    add_worker(app.database)
    running = add_operation(app.database, add_site(app.database, "busy"), state="running", waiting_for="")
    add_attempt(app.database, running)
    add_operation(app.database, add_site(app.database, "dark"), waiting_for="contact")
    soon = utc_now() + timedelta(minutes=10)
    add_operation(app.database, add_site(app.database, "later"), waiting_for="backoff", not_before=soon)
    html = client.get("/queue").text
    assert f'href="/sites/busy?operation={running}#log"' in html
    assert "<code>w-1</code>" in html
    assert 'href="/operations?waiting_for=contact">contact with the site' in html
    assert "in 9m" in html
    assert "No worker runs" not in html


def test_limits_and_paused_sites_are_shown(app: App, client: TestClient) -> None:
    add_worker(app.database)
    running = add_operation(app.database, add_site(app.database, "one"), state="running", waiting_for="")
    add_attempt(app.database, running)
    add_operation(app.database, add_site(app.database, "two"))
    add_operation(app.database, add_site(app.database, "three"), waiting_for="resume")
    pause(app.database, "three", "rebuilding <the> shop")
    with app.database.write() as session:
        session.add(QueueLimit(scope="kind:bootstrap", most=1))
    html = client.get("/queue").text
    assert "room within kind:bootstrap" in html
    assert "1 of 1 run" in html
    assert "the site to be resumed" in html
    assert "rebuilding &lt;the&gt; shop" in html


def test_the_live_part_is_what_the_page_includes(client: TestClient) -> None:
    part = client.get("/live/queue").text
    assert part.lstrip().startswith('<div id="queue" data-live hx-get="/live/queue"')
    assert "<html" not in part


def test_the_queue_as_json_is_the_document_of_the_command_line(app: App, client: TestClient) -> None:
    add_operation(app.database, add_site(app.database, "dark"), waiting_for="contact")
    document = client.get("/api/v1/queue").json()
    assert set(document) == {"apiVersion", "kind", *(field.name for field in fields(QueueStatus))}
    assert (document["kind"], document["queued"]) == ("QueueStatus", 1)
    assert [(item["reason"], item["sites"]) for item in document["waiting"]] == [("contact", 1)]
