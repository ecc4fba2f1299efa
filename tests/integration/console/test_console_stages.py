"""Staging from the console: a bundle's page, the look ahead, asking, and what sites hold and are being given."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlmodel import select
from tests_support.bundle_shop import NEW, OLD, BundleShop
from tests_support.console_fleet import add_cluster, add_operation, add_site
from tests_support.html_page import Page

from edgemgr.app import App
from edgemgr.inventory.bundle_import import Importer
from edgemgr.model.operation import Operation, Priority
from edgemgr.model.timestamp import utc_now
from edgemgr.model.transfer import Transfer
from edgemgr.model.transfer_scope import TransferScope
from edgemgr.store import transfer_rules

BUNDLE = "retail/stable/12"
PAGE = f"/bundles/{BUNDLE}"


@pytest.fixture
def bundle(app: App, tmp_path: Path) -> str:
    """An appliance with two bundles and three sites, two of them in emea."""
    app.settings.state_dir.mkdir(mode=0o700, exist_ok=True)
    shop = BundleShop.open(tmp_path / "shop")
    shop.trusted_in(app.settings.trust_dir)
    for number, versions in ((11, (OLD,)), (12, (OLD, NEW))):
        Importer(app.database, app.settings, "anna").take(shop.bundle(number, versions))
    for number, region in ((1, "emea"), (2, "emea"), (3, "amer")):
        add_cluster(app.database, add_site(app.database, f"store-{number}", labels={"region": region}))
    return BUNDLE


def site_id(app: App, name: str) -> int:
    from edgemgr.store import queries

    with app.database.read() as session:
        return queries.get_site(session, name).id or 0


def stages(app: App) -> list[Operation]:
    with app.database.read() as session:
        return list(session.exec(select(Operation).where(Operation.kind == "stage").order_by(Operation.site_id)))


def add_stage(app: App, name: str, state: str = "running", bundle: str = BUNDLE, **fields) -> int:
    return add_operation(app.database, site_id(app, name), "stage", state, params={"bundle": bundle}, **fields)


def add_transfer(app: App, name: str, total: int, done: int, rate: float) -> None:
    with app.database.write() as session:
        row = Transfer(site_id=site_id(app, name), bundle=BUNDLE, total_bytes=total, held_bytes=0, sent_bytes=done)
        row.log_mean, row.log_variance = math.log(rate), 0.01
        session.add(row)


def text(html: str) -> str:
    """What a person reads: without tags, gaps one blank wide."""
    return re.sub(r"\s+(?=([,.])?)", lambda gap: "" if gap[1] else " ", re.sub(r"<[^>]+>", " ", html))


def form_of(html: str) -> str:
    """The address of the form that asks."""
    (action,) = [
        attrs["action"] or ""
        for tag, attrs in Page(html).tags
        if tag == "form" and attrs.get("method", "get") == "post"
    ]
    return action


def test_a_look_ahead_tells_sites_and_bytes_and_asks_nothing(app: App, client: TestClient, bundle: str) -> None:
    add_transfer(app, "store-1", 5000, 0, 1000.0)
    html = client.get(PAGE, params={"to": "region=emea"}).text
    listed = client.get("/api/v1/stages/forecast", params={"bundle": bundle, "filter": "region=emea"}).json()
    sizes = [item["most_bytes"] for item in listed["items"]]
    assert listed["total"] == 2
    shown = text(html)
    assert f"2 sites, at most {sizes[0] / 1024:.1f} KiB to each, {sum(sizes) / 1024:.1f} KiB in all" in shown
    assert "Nothing was ever sent to 1 of 2" in shown
    assert re.search(r"The slowest whose rate is known needs about 1m \d+s", shown)
    assert "edgemgr stage retail/stable/12 --filter region=emea" in shown
    assert "store-3" not in html
    assert stages(app) == []


def test_the_form_asks_of_the_sites_that_were_shown_without_a_script(app: App, client: TestClient, bundle: str) -> None:
    action = form_of(client.get(PAGE, params={"to": "region=emea"}).text)
    answer = client.post(action, follow_redirects=False)
    assert answer.status_code == 303
    asked = stages(app)
    assert [(each.params, each.actor, each.state, each.priority) for each in asked] == [
        ({"bundle": bundle}, "console", "queued", Priority.TRANSFER)
    ] * 2
    assert answer.headers["location"] == f"{PAGE}?asked={asked[0].request}"
    page = text(client.get(answer.headers["location"]).text)
    assert "Asked of 2 sites" in page
    assert f"edgemgr operation cancel --request {asked[0].request}" in page


def test_an_empty_filter_means_every_site_and_says_how_many(app: App, client: TestClient, bundle: str) -> None:
    html = client.get(PAGE, params={"to": ""}).text
    assert "Stage to 3 sites" in html
    assert "edgemgr stage retail/stable/12 --all" in html
    client.post(form_of(html))
    assert len(stages(app)) == 3


def test_nothing_is_asked_when_the_sites_are_others_than_were_shown(app: App, client: TestClient, bundle: str) -> None:
    action = form_of(client.get(PAGE, params={"to": "region=emea"}).text)
    add_site(app.database, "store-4", labels={"region": "emea"})
    answer = client.post(action)
    assert answer.status_code == 409
    assert "E-STAGE-CHOICE" in answer.text
    assert stages(app) == []


@pytest.mark.parametrize(
    ("to", "code"),
    [("region=mars", "E-OP-NO-SITE"), ("region=", "E-SELECTOR"), ('helth=bad "', "E-SELECTOR"), ("group=nobody", "E-")],
)
def test_what_cannot_be_asked_is_explained_and_offers_no_button(
    client: TestClient, bundle: str, to: str, code: str
) -> None:
    answer = client.get(PAGE, params={"to": to})
    assert 400 <= answer.status_code < 500
    page = Page(answer.text)
    assert code in answer.text
    assert not [attrs for tag, attrs in page.tags if tag == "form" and attrs.get("method") == "post"]
    assert ("to", to.strip()) in [(attrs.get("name"), (attrs.get("value") or "").strip()) for _, attrs in page.tags]


def test_a_bundle_without_the_architecture_of_a_site_is_refused_with_the_sentence_of_the_command_line(
    app: App, client: TestClient, bundle: str
) -> None:
    add_cluster(app.database, add_site(app.database, "arm-1", labels={"region": "arm"}), arch="arm64")
    for address, params in ((PAGE, {"to": "region=arm"}), ("/api/v1/stages/forecast", {"bundle": bundle})):
        assert "E-B050" in client.get(address, params=params).text
    answer = client.post("/stages", params={"bundle": bundle, "to": "", "sites": 4})
    assert "E-B050" in answer.text
    assert stages(app) == []


@pytest.mark.parametrize("headers", [{"sec-fetch-site": "cross-site"}, {"origin": "http://evil.example"}])
def test_a_page_of_somebody_else_asks_for_nothing(
    app: App, client: TestClient, bundle: str, headers: dict[str, str]
) -> None:
    wanted = {"bundle": bundle, "all": True}
    assert client.post(f"/stages?bundle={bundle}&sites=3", headers=headers).status_code == 403
    assert client.post("/api/v1/stages", json=wanted, headers=headers).status_code == 403
    assert stages(app) == []


def test_the_address_of_the_form_looks_ahead_when_it_is_only_read(app: App, client: TestClient, bundle: str) -> None:
    answer = client.get("/stages", params={"bundle": bundle, "to": "region=emea"})
    assert answer.url.path == PAGE
    assert "Stage to 2 sites" in answer.text
    assert stages(app) == []


def test_programs_ask_by_json_and_must_say_which_sites(app: App, client: TestClient, bundle: str) -> None:
    for said in ({}, {"filter": " "}, {"filter": "region=emea", "all": True}):
        answer = client.post("/api/v1/stages", json={"bundle": bundle, **said})
        assert (answer.status_code, answer.json()["code"]) == (400, "E-OP-NO-SITE")
    assert stages(app) == []
    answer = client.post("/api/v1/stages", json={"bundle": bundle, "filter": "region=emea", "sites": 2})
    assert answer.status_code == 202
    document = answer.json()
    assert (document["kind"], document["operation"], document["sites"]) == ("Request", "stage", ["store-1", "store-2"])
    assert {each.request for each in stages(app)} == {document["request"]}


def test_what_is_under_way_shows_bytes_rate_time_and_what_it_waits_for(
    app: App, client: TestClient, bundle: str
) -> None:
    add_stage(app, "store-1")
    add_transfer(app, "store-1", 4 << 20, 1 << 20, 1 << 20)
    add_stage(app, "store-2", "queued", waiting_for="window", message="its transfer window is closed until 22:00 UTC")
    add_stage(app, "store-3", "queued", waiting_for="contact", message="port 22: timed out")
    for address in (PAGE, f"/live{PAGE}", "/bundles", "/live/bundles"):
        html = client.get(address).text
        shown = text(html)
        for part in ("25 %", "1.0 MiB of 4.0 MiB", "1.0 MiB/s", "closed until 22:00 UTC", "waits for contact"):
            assert part in shown, f"{part} on {address}"
        assert ("progress", str(4 << 20), str(1 << 20)) in [
            (tag, attrs.get("max"), attrs.get("value")) for tag, attrs in Page(html).tags
        ]
        assert re.findall(r'<th scope="row"><a href="/sites/([^"]+)"', html) == ["store-1", "store-2", "store-3"]
    assert "3s" in text(client.get(PAGE).text), "the rest at that rate"
    listed = client.get("/api/v1/stages", params={"bundle": bundle}).json()
    assert [(item["site"], item["done_bytes"]) for item in listed["items"]] == [
        ("store-1", 1 << 20),
        ("store-2", None),
        ("store-3", None),
    ]
    document = client.get(f"/api/v1/bundles/{bundle}").json()
    assert document["under_way"] == {
        "bundle": bundle,
        "running": 1,
        "waiting": 2,
        "done_bytes": 1 << 20,
        "total_bytes": 4 << 20,
    }


def test_the_page_of_one_bundle_leaves_out_those_of_others(app: App, client: TestClient, bundle: str) -> None:
    add_stage(app, "store-1", bundle="retail/stable/11")
    add_stage(app, "store-2")
    found = re.findall(r'<th scope="row"><a href="/sites/([^"]+)"', client.get(PAGE).text)
    assert found == ["store-2"]


def test_a_site_shows_what_it_holds_what_is_on_its_way_and_what_limits_it(
    app: App, client: TestClient, bundle: str
) -> None:
    assert "Nothing of a bundle was brought here yet" in client.get("/sites/store-1").text
    add_stage(app, "store-1", "succeeded", "retail/stable/11", finished_at=utc_now() - timedelta(days=9))
    add_stage(app, "store-1", attempts=3)
    add_transfer(app, "store-1", 4 << 20, 1 << 20, 1 << 20)
    with app.database.write() as session:
        transfer_rules.put_limit(session, TransferScope.parse("label:region"), 500 << 10, actor="anna")
        transfer_rules.put_limit(session, TransferScope.parse("site:store-2"), 10 << 10, actor="anna")
        transfer_rules.put_window(session, TransferScope.parse("all"), "22:00-06:00", "Europe/Berlin", actor="anna")
    for address in ("/sites/store-1", "/live/sites/store-1"):
        shown = text(client.get(address).text)
        for part in (
            "A bundle is on its way to the site (attempt 3).",
            "On its way retail/stable/12",
            "25 %",
            "limit 500.0 KiB/s",
            "Holds retail/stable/11 since 9d ago, sent",
            "label:region at most 500.0 KiB/s for each value",
            "all sites open 22:00-06:00 Europe/Berlin",
        ):
            assert part in shown, f"{part} on {address}"
        assert "site:store-2" not in shown
    held = client.get("/api/v1/sites/store-1/bundles").json()
    assert [(item["bundle"], item["by"]) for item in held["items"]] == [("retail/stable/11", "link")]
    assert [item["scope"] for item in client.get("/api/v1/stages/rules").json()["items"]] == [
        "all",
        "label:region",
        "site:store-2",
    ]


def test_the_pages_count_the_sites_that_hold_a_bundle(app: App, client: TestClient, bundle: str) -> None:
    for name in ("store-1", "store-2"):
        add_stage(app, name, "succeeded")
    shown = text(client.get(PAGE).text)
    assert "Sites that hold it 2 store-1, store-2" in shown
    assert "held by 2" in text(client.get("/bundles").text)
    assert client.get(f"/api/v1/bundles/{bundle}").json()["sites_holding"] == 2
    assert "1 of 1 holds it already" not in text(client.get(PAGE, params={"to": "region=amer"}).text)
    assert "2 of 3 hold it already" in text(client.get(PAGE, params={"to": ""}).text)


@pytest.mark.parametrize(
    ("address", "status", "code"),
    [
        ("/bundles/retail/stable/9", 404, "E-BUNDLE-UNKNOWN"),
        ("/live/bundles/retail/stable/9", 404, "E-BUNDLE-UNKNOWN"),
        ("/api/v1/bundles/retail/stable/9", 404, "E-BUNDLE-UNKNOWN"),
        ("/bundles/retail/stable/x", 400, "E-BUNDLE-NAME"),
        ("/api/v1/stages?bundle=retail", 400, "E-BUNDLE-NAME"),
        ("/api/v1/sites/nobody/bundles", 404, "E-SITE-UNKNOWN"),
    ],
)
def test_a_wrong_address_is_an_answer_with_a_code(client: TestClient, address: str, status: int, code: str) -> None:
    answer = client.get(address)
    assert answer.status_code == status
    assert code in answer.text
