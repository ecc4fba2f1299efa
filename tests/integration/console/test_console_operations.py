"""Operations in the console, as a page and as JSON."""

from __future__ import annotations

import re
from dataclasses import fields
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from tests_support.console_fleet import (
    add_attempt,
    add_fleet,
    add_operation,
    add_site,
)

from edgemgr.app import App
from edgemgr.model.timestamp import utc_now
from edgemgr.store.operation_item import AttemptItem, OperationItem


def test_operations_are_listed_newest_first_with_what_they_wait_for(app: App, client: TestClient) -> None:
    waiting = add_operation(app.database, add_site(app.database, "store-1"), waiting_for="contact", message="timed out")
    soon = utc_now() + timedelta(minutes=10)
    later = add_operation(app.database, add_site(app.database, "store-2"), waiting_for="backoff", not_before=soon)
    html = client.get("/operations").text
    assert html.index(f">{later}</a>") < html.index(f">{waiting}</a>")
    assert "for contact" in html
    assert "next try in 9m" in html


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("state=failed", {"b"}),
        ("state=queued", {"a"}),
        ("waiting_for=contact", {"a"}),
        ("kind=verify", {"b"}),
        ("site=a", {"a"}),
        ("code=E-K3S", {"b"}),
        ("actor=ada&code=E-K3S", {"b"}),
        ("request=r-2", {"b"}),
    ],
)
def test_operations_can_be_narrowed(app: App, client: TestClient, query: str, expected: set[str]) -> None:
    add_operation(app.database, add_site(app.database, "a"), waiting_for="contact")
    add_operation(app.database, add_site(app.database, "b"), "verify", "failed", code="E-K3S", request="r-2")
    html = client.get(f"/operations?{query}").text
    assert set(re.findall(r'data-label="Site"><a href="/sites/(\w)"', html)) == expected


def test_old_operations_are_on_further_pages(app: App, client: TestClient) -> None:
    site = add_site(app.database, "a")
    numbers = [add_operation(app.database, site, "probe", "succeeded") for _ in range(53)]
    first = client.get("/operations?kind=probe").text
    assert f'rel="next" href="/operations?kind=probe&amp;before={numbers[3]}"' in first
    assert "Newest" not in first
    second = client.get(f"/operations?kind=probe&before={numbers[3]}").text
    assert [f">{number}</a>" in second for number in numbers[:4]] == [True, True, True, False]
    assert "Older" not in second
    assert 'href="/operations?kind=probe">Newest' in second


def test_json_has_the_envelope_of_the_command_line(app: App, client: TestClient) -> None:
    add_fleet(app.database, 5)
    listing = client.get("/api/v1/sites?limit=2&offset=1&sort=-name").json()
    assert {key: listing[key] for key in ("apiVersion", "kind", "total")} == {
        "apiVersion": "edgemgr/v1",
        "kind": "SiteList",
        "total": 5,
    }
    assert [item["name"] for item in listing["items"]] == ["store-00004", "store-00003"]
    site = client.get("/api/v1/sites/store-00001").json()
    assert (site["kind"], site["site"]["name"]) == ("Site", "store-00001")
    assert client.get("/api/v1/sites/store-00001/events").json()["kind"] == "EventList"


def test_operations_as_json_have_the_fields_of_the_command_line(app: App, client: TestClient) -> None:
    operation = add_operation(app.database, add_site(app.database, "a"), state="running", attempts=1)
    add_attempt(app.database, operation)
    document = client.get(f"/api/v1/operations/{operation}").json()
    assert set(document["operation"]) == {field.name for field in fields(OperationItem)}
    assert set(document["attempts"][0]) == {field.name for field in fields(AttemptItem)}
    assert document["operation"]["state"] == "running"
    assert [attempt["outcome"] for attempt in document["attempts"]] == ["running"]
    listed = client.get("/api/v1/operations?state=running&site=a").json()
    assert [item["id"] for item in listed["items"]] == [operation]


def test_the_total_counts_the_operations_of_other_pages_too(app: App, client: TestClient) -> None:
    site = add_site(app.database, "a")
    numbers = [add_operation(app.database, site, "probe", "succeeded") for _ in range(7)]
    first = client.get("/api/v1/operations?limit=3").json()
    assert ([item["id"] for item in first["items"]], first["total"]) == (numbers[:3:-1], 7)
    older = client.get(f"/api/v1/operations?limit=3&before={numbers[4]}").json()
    assert [item["id"] for item in older["items"]] == [numbers[3], numbers[2], numbers[1]]
    newer = client.get(f"/api/v1/operations?limit=3&after={numbers[2]}&oldest_first=true").json()
    assert [item["id"] for item in newer["items"]] == numbers[3:6]


@pytest.mark.parametrize(
    ("address", "status", "code"),
    [
        ("/api/v1/sites/nobody", 404, "E-SITE-UNKNOWN"),
        ("/api/v1/sites?filter=helth%3C1", 400, "E-SELECTOR-FIELD"),
        ("/api/v1/sites?sort=wealth", 400, "E-SITE-SORT"),
        ("/api/v1/sites?limit=0", 400, "E-USAGE"),
        ("/api/v1/operations?since=yesterday", 400, "E-USAGE"),
        ("/api/v1/operations?filter=group%3Dnone", 404, "E-GROUP-UNKNOWN"),
        ("/api/v1/operations/77", 404, "E-OP-UNKNOWN"),
        ("/api/v1/nothing", 404, "E-NOT-FOUND"),
    ],
)
def test_errors_of_the_api_are_problem_details(client: TestClient, address: str, status: int, code: str) -> None:
    answer = client.get(address)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == code
    assert answer.json()["detail"]
