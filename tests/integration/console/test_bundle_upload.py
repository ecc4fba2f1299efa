"""Bundles that are uploaded to the console: in pieces, gone on with after a break, imported in the background."""

from __future__ import annotations

import hashlib
import stat
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from tests_support.appliance import until
from tests_support.bundle_shop import NEW, BundleShop

from edgemgr.app import App
from edgemgr.inventory.bundle_upload import PIECE_BYTES, Uploads
from edgemgr.inventory.incoming import Incoming
from edgemgr.model.timestamp import utc_now
from edgemgr.store import bundles, events
from edgemgr.web.bundle_imports import BundleImports
from edgemgr.web.server import make_console

ADDRESS = "/api/v1/bundle-uploads"
BASE = "http://127.0.0.1:8080"


@pytest.fixture
def shop(tmp_path: Path, app: App) -> BundleShop:
    app.settings.state_dir.mkdir(mode=0o700)
    shop = BundleShop.open(tmp_path / "shop")
    shop.trusted_in(app.settings.trust_dir)
    return shop


@pytest.fixture
def client(app: App) -> Iterator[TestClient]:
    console = make_console(app)
    with TestClient(console, base_url=BASE, raise_server_exceptions=False) as client:
        yield client
    console.state.imports.stop()


def begin(client: TestClient, path: Path, **changes) -> dict:
    wanted = {"name": path.name, "size_bytes": path.stat().st_size, "modified_ms": 5, **changes}
    answer = client.post(ADDRESS, json=wanted)
    assert answer.status_code == 201, answer.text
    return answer.json()


def send(client: TestClient, upload: dict, content: bytes, offset: int | None = None, **headers):
    at = upload["offset"] if offset is None else offset
    return client.patch(f"{ADDRESS}/{upload['id']}", content=content, headers={"Upload-Offset": str(at), **headers})


def send_all(client: TestClient, upload: dict, path: Path, piece: int = PIECE_BYTES) -> dict:
    content = path.read_bytes()
    while upload["state"] == "receiving":
        answer = send(client, upload, content[upload["offset"] : upload["offset"] + piece])
        assert answer.status_code == 200, answer.text
        upload = answer.json()
    return upload


def ended(client: TestClient, upload: dict) -> dict:
    def look() -> dict | None:
        found = client.get(f"{ADDRESS}/{upload['id']}").json()
        return found if found["state"] in ("imported", "refused") else None

    return until("the import has ended", look, 60, pause_s=0.05)


def file_goes(app: App) -> None:
    """Just after the verdict: it is kept first, so that a power cut between them loses nothing."""
    until("the file is gone", lambda: not list(app.settings.incoming_dir.rglob("*.emb")), 10, pause_s=0.05)


def test_an_uploaded_bundle_is_imported_and_shown(app, client, shop) -> None:
    path = shop.bundle(more=[shop.large(300_000)])
    upload = send_all(client, begin(client, path), path, piece=100_000)
    assert upload["offset"] == path.stat().st_size
    assert ended(client, upload)["message"] == "retail/stable/1 was imported"
    with app.database.read() as session:
        (bundle,) = bundles.all_bundles(session)
        (event,) = events.history(session)
    assert bundle.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (event.reason, event.actor) == ("BundleImported", "console")
    (item,) = client.get("/api/v1/bundles").json()["items"]
    assert item["name"] == "retail/stable/1"
    page = client.get("/bundles").text
    for shown in ("retail/stable/1", NEW, "amd64", f"{bundle.expires_at:%Y-%m-%d}", bundle.key_ids[0][:8], "vendor"):
        assert shown in page
    file_goes(app)


def test_the_file_lies_where_nobody_else_can_look(app, client, shop) -> None:
    upload = begin(client, shop.bundle())
    directory = app.settings.incoming_dir / "uploads" / upload["id"]
    for path in (directory, *directory.parents[:2]):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE((directory / "bundle.emb").stat().st_mode) == 0o600


def test_after_a_break_the_same_file_goes_on_where_it_was(client, shop) -> None:
    path = shop.bundle(more=[shop.large(300_000)])
    first = begin(client, path)
    send(client, first, path.read_bytes()[:120_000])
    again = begin(client, path)
    assert (again["id"], again["offset"]) == (first["id"], 120_000)
    assert ended(client, send_all(client, again, path))["state"] == "imported"


def test_another_file_of_that_name_begins_anew(client, shop) -> None:
    path = shop.bundle()
    assert begin(client, path)["id"] != begin(client, path, modified_ms=6)["id"]


def test_what_arrived_of_a_piece_that_was_cut_off_counts(app, client, shop) -> None:
    path = shop.bundle(more=[shop.large(300_000)])
    upload = begin(client, path)
    content = path.read_bytes()

    def cut() -> Iterator[bytes]:
        yield content[:70_000]

    answer = client.patch(
        f"{ADDRESS}/{upload['id']}",
        content=cut(),
        headers={"Upload-Offset": "0", "Content-Length": "200000"},
    )
    assert answer.status_code == 200
    assert client.get(f"{ADDRESS}/{upload['id']}").json()["offset"] == 70_000


def test_a_piece_from_the_wrong_place_is_refused_and_the_place_is_told(client, shop) -> None:
    path = shop.bundle()
    upload = begin(client, path)
    send(client, upload, path.read_bytes()[:1000])
    for offset in (0, 500, 2000):
        answer = send(client, upload, b"x" * 100, offset)
        assert (answer.status_code, answer.json()["code"]) == (409, "E-BUNDLE-OFFSET")
        assert "at byte 1000" in answer.json()["detail"]
    assert client.get(f"{ADDRESS}/{upload['id']}").json()["offset"] == 1000


def test_more_than_the_file_was_said_to_have_is_refused(client, shop) -> None:
    path = shop.bundle()
    upload = begin(client, path, size_bytes=1000)
    assert send(client, upload, bytes(1001)).status_code == 400
    assert send(client, upload, b"x", offset=2000).status_code == 409
    assert send(client, upload, bytes(10), **{"Content-Length": str(PIECE_BYTES + 1)}).status_code == 400
    assert client.get(f"{ADDRESS}/{upload['id']}").json()["offset"] == 0


def test_a_refused_bundle_is_said_with_its_code_and_leaves_nothing(app, client, shop, tmp_path) -> None:
    path = BundleShop.open(tmp_path / "other", name="other").bundle()
    verdict = ended(client, send_all(client, begin(client, path), path))
    assert (verdict["state"], verdict["code"]) == ("refused", "E-B020")
    file_goes(app)
    assert not app.settings.release_dir.exists()
    page = client.get("/bundles").text
    assert "E-B020" in page
    with app.database.read() as session:
        (event,) = events.history(session)
    assert (event.reason, event.actor) == ("BundleRefused", "console")


def test_an_expired_bundle_cannot_be_accepted_here(client, shop) -> None:
    path = shop.bundle(expires_at=utc_now() - timedelta(days=1))
    assert ended(client, send_all(client, begin(client, path), path))["code"] == "E-B030"


def test_size_and_quota_are_checked_before_the_first_byte(app, shop) -> None:
    path = shop.bundle(more=[shop.large(3 << 20)])
    for changes, code in (({"bundle_max_mib": 2}, "E-B060"), ({"bundle_quota_mib": 2}, "E-BUNDLE-QUOTA")):
        small = App(app.settings.model_copy(update=changes), app.database, app.vault)
        with TestClient(make_console(small), base_url=BASE) as client:
            wanted = {"name": path.name, "size_bytes": path.stat().st_size}
            answer = client.post(ADDRESS, json=wanted)
            assert (answer.status_code, answer.json()["code"]) == (400, code)
            assert client.post(ADDRESS, json={**wanted, "size_bytes": 10**15}).json()["code"] == "E-B060"
            assert not app.settings.incoming_dir.exists()


def test_unfinished_uploads_are_few_and_their_promises_count(app, client, shop) -> None:
    path = shop.bundle()
    uploads = [begin(client, path, modified_ms=number) for number in range(4)]
    answer = client.post(ADDRESS, json={"name": "fifth.emb", "size_bytes": 100})
    assert (answer.status_code, answer.json()["code"]) == (409, "E-BUNDLE-UPLOADS")
    assert client.get("/bundles").text.count("data-discard=") == 4
    assert client.delete(f"{ADDRESS}/{uploads[0]['id']}").status_code == 204
    assert client.post(ADDRESS, json={"name": "fifth.emb", "size_bytes": 100}).status_code == 201


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "http://127.0.0.1:9999", "sec-fetch-site": "same-site"},
    ],
)
def test_pages_of_others_can_send_nothing(app, client, shop, headers: dict[str, str]) -> None:
    upload = begin(client, shop.bundle())
    requests = (
        ("POST", ADDRESS, {"json": {"name": "x.emb", "size_bytes": 10}}),
        ("PATCH", f"{ADDRESS}/{upload['id']}", {"content": b"x"}),
        ("DELETE", f"{ADDRESS}/{upload['id']}", {}),
    )
    for method, address, more in requests:
        answer = client.request(method, address, headers={**headers, "Upload-Offset": "0"}, **more)
        assert answer.status_code == 403
    assert [each.offset for each in Uploads(app.settings).all()] == [0]


@pytest.mark.parametrize("headers", [{"sec-fetch-site": "same-origin"}, {"origin": BASE}, {}])
def test_our_own_page_and_programs_can(client, shop, headers: dict[str, str]) -> None:
    wanted = {"name": "x.emb", "size_bytes": 10}
    assert client.post(ADDRESS, json=wanted, headers=headers).status_code == 201


@pytest.mark.parametrize("upload_id", ["0" * 32, "nothing", "..", "%2e%2e", "0" * 31 + "g"])
def test_an_upload_that_is_not_there_is_not_found(client, shop, upload_id: str) -> None:
    assert client.get(f"{ADDRESS}/{upload_id}").status_code in (400, 404)
    answer = client.patch(f"{ADDRESS}/{upload_id}", content=b"x", headers={"Upload-Offset": "0"})
    assert answer.status_code in (400, 403, 404, 405)


def test_an_upload_that_was_whole_when_the_process_ended_is_imported_at_the_next_start(app, client, shop) -> None:
    path = shop.bundle()
    with Incoming(app.settings.incoming_dir).locked():
        upload = send_all(client, begin(client, path), path)
        assert client.delete(f"{ADDRESS}/{upload['id']}").json()["code"] == "E-BUNDLE-BUSY"
        client.app.state.imports.stop()
    assert Uploads(app.settings).get(upload["id"]).state == "received"
    imports = BundleImports(app)
    imports.add_whole()
    until("it is imported", lambda: Uploads(app.settings).get(upload["id"]).state == "imported", 60, pause_s=0.05)
    imports.stop()


def test_a_page_and_its_script_need_nothing_inline_and_name_what_they_use(client, shop) -> None:
    page = client.get("/bundles").text
    script = client.get("/static/upload.js").text
    for name in ("upload", "upload-file", "upload-send", "upload-pause", "upload-bar", "upload-text", "upload-note"):
        assert f'id="{name}"' in page
        assert f'"{name}"' in script
    assert ADDRESS in script


def test_without_a_trusted_root_the_page_says_what_to_do(app, client) -> None:
    app.settings.state_dir.mkdir(mode=0o700)
    assert "No root is trusted" in client.get("/bundles").text


def test_what_an_uploaded_name_says_stays_text(client, shop) -> None:
    begin(client, shop.bundle(), name="<script>alert(1)</script>.emb")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;.emb" in client.get("/bundles").text


def test_old_uploads_are_forgotten(app, client, shop, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(client, shop.bundle())
    now = time.time()
    monkeypatch.setattr("edgemgr.inventory.bundle_upload.time.time", lambda: now + 8 * 86400)
    Uploads(app.settings).drop_old()
    assert not Uploads(app.settings).all()
