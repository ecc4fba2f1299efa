"""What the console refuses, and what it never shows."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote, urldefrag, urljoin, urlsplit

import pytest
from fastapi.testclient import TestClient
from tests_support.bundle_shop import BundleShop
from tests_support.console_fleet import (
    VERSION,
    add_attempt,
    add_cluster,
    add_event,
    add_fleet,
    add_operation,
    add_site,
    write_log,
)
from tests_support.html_page import Page

from edgemgr.app import App
from edgemgr.errors import ConfigurationError
from edgemgr.inventory.bundle_import import Importer
from edgemgr.model.secret import Secret, SecretName
from edgemgr.model.transfer import Transfer
from edgemgr.model.transfer_scope import TransferScope
from edgemgr.store import secrets, transfer_rules
from edgemgr.web.protection import CONTENT_SECURITY_POLICY
from edgemgr.web.server import make_console

BASE = "http://127.0.0.1:8080"
CANARY = "canary-4f1f6a2d9c"
HOSTILE = "<script>alert(1)</script>{{ 7*7 }}{% raw %}\"'><img src=x onerror=alert(2)>"


@pytest.fixture
def full(app: App, tmp_path: Path) -> list[str]:
    """An appliance with something of everything; returns the addresses of its pages."""
    app.settings.state_dir.mkdir(mode=0o700, exist_ok=True)
    shop = BundleShop.open(tmp_path / "shop")
    shop.trusted_in(app.settings.trust_dir)
    Importer(app.database, app.settings, "anna").take(shop.bundle(3))
    site = add_site(app.database, "store-1", labels={"region": "emea"})
    add_cluster(app.database, site)
    done = add_operation(app.database, site, "verify", "failed", attempts=1, message="no")
    write_log(
        app.settings.log_dir,
        add_attempt(app.database, done, outcome="failed"),
        "2026-11-20T12:00:00Z failed      a: b\n",
    )
    add_operation(app.database, site, waiting_for="contact")
    add_event(app.database, site, "SiteCreated", "imported")
    add_fleet(app.database, 60)
    staged = add_site(app.database, "store-2")
    add_operation(app.database, staged, "stage", "running", params={"bundle": "retail/stable/3"})
    with app.database.write() as session:
        session.add(Transfer(site_id=staged, bundle="retail/stable/3", total_bytes=9, held_bytes=4))
        transfer_rules.put_window(session, TransferScope("all"), "22:00-06:00", "UTC", actor="anna")
    return [
        "/sites",
        "/sites?page=2",
        "/sites?q=nobody",
        "/sites?q=%28",
        "/sites/store-1",
        f"/sites/store-1?operation={done}",
        "/sites/nobody",
        "/operations",
        "/operations?state=expired",
        "/expiry",
        "/expiry?within_days=365",
        "/no-such-page",
        "/live/sites",
        "/live/sites/store-1",
        "/live/sites/store-1/history",
        "/live/sites/store-1/log",
        "/live/sites/nobody",
        "/live/operations",
        "/bundles",
        "/live/bundles",
        "/bundles/retail/stable/3",
        "/bundles/retail/stable/3?to=region%3Demea",
        "/bundles/retail/stable/3?to=%28",
        "/bundles/retail/stable/9",
        "/live/bundles/retail/stable/3",
        "/stages?bundle=retail/stable/3",
    ]


def test_every_address_on_every_page_is_our_own_and_answers(client: TestClient, full: list[str]) -> None:
    checked = set()
    for address in full:
        page = client.get(address)
        for link in Page(page.text).addresses():
            assert urlsplit(link).netloc == "", link
            target = urldefrag(urljoin(BASE + address, link)).url.removeprefix(BASE)
            if target not in checked and target != address:
                checked.add(target)
                # The live part of a page that explains a fault explains the same fault.
                assert client.get(target).status_code in (200, page.status_code), f"{target} on {address}"
    assert len(checked) > 80


def test_no_page_has_a_script_or_style_of_its_own(client: TestClient, full: list[str]) -> None:
    for address in full:
        page = Page(client.get(address).text)
        assert page.inline == ""
        for tag, attrs in page.tags:
            assert tag != "style"
            assert not [name for name in attrs if name == "style" or name.startswith(("on", "hx-on"))], (
                f"{tag} on {address}"
            )


def test_every_answer_is_protected(client: TestClient, full: list[str]) -> None:
    for address in [*full, "/api/v1/sites", "/static/console.css", "/static/nothing"]:
        headers = client.get(address).headers
        assert headers["content-security-policy"] == CONTENT_SECURITY_POLICY
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert "frame-ancestors 'none'" in CONTENT_SECURITY_POLICY


def test_pages_are_not_kept_by_browsers_and_files_are_by_their_content(client: TestClient) -> None:
    html = client.get("/sites").text
    assert client.get("/sites").headers["cache-control"] == "no-store"
    style = re.search(r'href="(/static/console\.css\?v=[0-9a-f]{12})"', html)
    assert style
    assert "immutable" in client.get(style[1]).headers["cache-control"]
    assert "immutable" not in client.get("/static/nothing?v=1").headers["cache-control"]


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "", "localhost.evil.example:80", "[::2]:8080"],
)
def test_another_host_name_is_refused(client: TestClient, host: str) -> None:
    answer = client.get("/sites", headers={"host": host})
    assert answer.status_code == 400
    assert "<html" not in answer.text


@pytest.mark.parametrize("host", ["localhost:9000", "127.0.0.1", "[::1]:8080", "LOCALHOST"])
def test_the_names_of_this_machine_are_served_on_any_port(client: TestClient, host: str) -> None:
    assert client.get("/sites", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_nothing_else_can_be_changed(client: TestClient, full: list[str], method: str) -> None:
    for address in (
        "/sites",
        "/sites/store-1",
        "/bundles/retail/stable/3",
        "/stages/rules",
        "/api/v1/sites",
        "/api/v1/operations/1",
        "/api/v1/stages/rules",
    ):
        assert client.request(method, address).status_code == 405


def test_no_page_of_documentation_loads_scripts_from_elsewhere(client: TestClient) -> None:
    assert client.get("/docs").status_code == 404
    assert client.get("/redoc").status_code == 404
    assert set(client.get("/api/v1/openapi.json").json()["paths"]) == {
        "/api/v1/sites",
        "/api/v1/sites/{name}",
        "/api/v1/sites/{name}/events",
        "/api/v1/operations",
        "/api/v1/operations/{operation_id}",
        "/api/v1/queue",
        "/api/v1/bundles",
        "/api/v1/bundles/{product}/{channel}/{number}",
        "/api/v1/sites/{name}/bundles",
        "/api/v1/stages",
        "/api/v1/stages/forecast",
        "/api/v1/stages/rules",
        "/api/v1/bundle-uploads",
        "/api/v1/bundle-uploads/{upload_id}",
    }


def test_files_outside_the_static_ones_are_not_served(client: TestClient) -> None:
    for path in ("/static/../server.py", "/static/%2e%2e/server.py", "/static/..%2fserver.py", "/static//etc/passwd"):
        assert client.get(path).status_code == 404


def test_what_a_site_or_a_user_wrote_stays_text(app: App, client: TestClient) -> None:
    name = "x'\"><script>alert(3)<"
    site = add_site(app.database, name, labels={HOSTILE: HOSTILE}, notes=HOSTILE, profile=HOSTILE, user=HOSTILE)
    add_cluster(
        app.database,
        site,
        health_reason=HOSTILE,
        reachability_reason=HOSTILE,
        k3s_version=HOSTILE,
        os=HOSTILE,
        node_name=HOSTILE,
        facts={"kernel": HOSTILE, "boot_at": HOSTILE},
    )
    operation = add_operation(
        app.database, site, state="failed", message=HOSTILE, hint=HOSTILE, code=HOSTILE, actor=HOSTILE, attempts=1
    )
    write_log(
        app.settings.log_dir, add_attempt(app.database, operation, outcome="failed", message=HOSTILE), f"{HOSTILE}\n"
    )
    add_event(app.database, site, HOSTILE, HOSTILE, actor=HOSTILE)
    path = quote(name, safe="")
    for address in (
        "/sites",
        f"/sites?q={quote(HOSTILE)}",
        f"/sites?health={quote(HOSTILE)}",
        f"/sites/{path}",
        f"/sites/{quote(HOSTILE, safe='')}",
        "/operations",
        f"/operations?site={path}",
        f"/live/sites/{path}",
        f"/live/sites/{path}/log",
    ):
        answer = client.get(address)
        assert answer.status_code < 500
        page = Page(answer.text)
        assert page.inline == "", address
        assert "img" not in [tag for tag, attrs in page.tags if attrs.get("src") == "x"]
        assert not [attrs for _, attrs in page.tags for key in attrs if key.startswith("on")], address
        assert "49" not in re.findall(r"</script>(\d\d)\"", answer.text), "a template was evaluated"
    assert "&lt;script&gt;alert(1)&lt;/script&gt;{{ 7*7 }}" in client.get(f"/sites/{path}").text


def test_no_page_shows_a_secret(app: App, client: TestClient, full: list[str]) -> None:
    site = add_site(app.database, "store-s")
    add_cluster(app.database, site, facts={"token": CANARY, "nested": {"password": CANARY}, "cpus": 4})
    operation = add_operation(
        app.database, site, state="running", attempts=1, params={"version": VERSION, "k3s_config": {"token": CANARY}}
    )
    add_attempt(app.database, operation)
    with app.database.write() as session:
        for name in SecretName:
            secrets.put(session, app.vault, site, name, Secret(CANARY))
    addresses = [
        *full,
        "/sites?q=name~store-s",
        "/sites/store-s",
        "/live/sites/store-s",
        "/operations?site=store-s",
        "/api/v1/sites?limit=1000",
        "/api/v1/sites/store-s",
        "/api/v1/sites/store-s/events",
        "/api/v1/operations",
        f"/api/v1/operations/{operation}",
    ]
    for address in addresses:
        assert CANARY not in client.get(address).text, address


def test_a_fault_of_our_own_is_a_page_without_details(
    app: App, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError(CANARY)

    monkeypatch.setattr("edgemgr.web.console.pages.read_sites", broken)
    answer = client.get("/sites")
    assert answer.status_code == 500
    assert "E-INTERNAL" in answer.text
    assert CANARY not in answer.text
    assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY


def test_a_console_for_other_machines_is_not_made(app: App) -> None:
    settings = app.settings.model_copy(update={"listen": "0.0.0.0:8080"})
    with pytest.raises(ConfigurationError, match="no login"):
        make_console(App(settings=settings, database=app.database, vault=app.vault))
