"""Fetching a k3s release: hashes, cuts, resumption and what is never followed. Against a server on this machine."""

from __future__ import annotations

import hashlib
import http.server
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edgemgr.bundles import download
from edgemgr.bundles.download import download_release
from edgemgr.errors import BundleError
from edgemgr.model.release import Arch

VERSION = "v1.34.6+k3s1"
BINARY, IMAGES = b"\x7fELF" + bytes(range(256)) * 40, b"images" * 5000


@dataclass
class Page:
    """A release's page: its files, and how it misbehaves."""

    files: dict[str, bytes]
    url: str = ""
    cut_after: list[int] = field(default_factory=list)  #: bytes after which the next large answers end
    asked: list[tuple[str, str]] = field(default_factory=list)
    moved_to: str = ""
    ranges: bool = True

    def lists(self, **hashes: str) -> None:
        own = {name: hashlib.sha256(data).hexdigest() for name, data in self.files.items() if not name.endswith(".txt")}
        self.files["sha256sum-amd64.txt"] = "".join(f"{d}  {n}\n" for n, d in (own | hashes).items()).encode()


class Handler(http.server.BaseHTTPRequestHandler):
    page: Page

    def do_GET(self) -> None:
        folder, _, name = self.path.lstrip("/").partition("/")
        wanted = self.headers.get("Range", "")
        self.page.asked.append((name, wanted))
        if self.page.moved_to:
            self.send_response(302)
            self.send_header("Location", self.page.moved_to)
            self.end_headers()
            return
        data = self.page.files.get(name) if folder == "v1.34.6%2Bk3s1" else None
        if data is None:
            self.send_error(404)
            return
        match = re.fullmatch(r"bytes=(\d+)-", wanted) if self.page.ranges else None
        begin = int(match[1]) if match else 0
        if match and begin >= len(data):
            self.send_error(416)
            return
        self.send_response(206 if match else 200)
        self.send_header("Content-Length", str(len(data) - begin))
        self.end_headers()
        end = begin + self.page.cut_after.pop(0) if self.page.cut_after and not name.endswith(".txt") else None
        self.wfile.write(data[begin:end])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        pass


@pytest.fixture
def page() -> Iterator[Page]:
    page = Page({"k3s": BINARY, "k3s-airgap-images-amd64.tar.zst": IMAGES})
    page.lists()
    handler = type("PageHandler", (Handler,), {"page": page})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        page.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield page
        server.shutdown()
        thread.join()


def fetch(page: Page, directory: Path, **more: object) -> list[str]:
    pauses: list[float] = []
    return download_release(VERSION, [Arch.AMD64], directory, base_url=page.url, pause=pauses.append, **more)  # type: ignore[arg-type]


def test_a_release_arrives_with_its_list_and_is_not_fetched_twice(page: Page, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    names = fetch(page, tmp_path / "new", on_progress=lambda *now: seen.append(now))
    assert names == ["k3s", "k3s-airgap-images-amd64.tar.zst"]
    assert (tmp_path / "new/k3s").read_bytes() == BINARY
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(page.files)
    assert ("k3s", len(BINARY), len(BINARY)) in seen
    assert fetch(page, tmp_path / "new") == []


def test_a_cut_file_goes_on_where_it_ended(page: Page, tmp_path: Path) -> None:
    page.cut_after = [1000, 500, 10**9, 7]
    assert len(fetch(page, tmp_path)) == 2
    assert (tmp_path / "k3s").read_bytes() == BINARY
    assert [wanted for name, wanted in page.asked if name == "k3s"] == ["", "bytes=1000-", "bytes=1500-"]


def test_a_server_without_ranges_begins_again(page: Page, tmp_path: Path) -> None:
    page.ranges = False
    page.cut_after = [1000]
    fetch(page, tmp_path)
    assert (tmp_path / "k3s").read_bytes() == BINARY


def test_a_beginning_of_something_else_is_thrown_away(page: Page, tmp_path: Path) -> None:
    (tmp_path / ".k3s.part").write_bytes(b"x" * 5000)
    (tmp_path / ".k3s-airgap-images-amd64.tar.zst.part").write_bytes(b"x" * 10**6)
    fetch(page, tmp_path)
    assert (tmp_path / "k3s").read_bytes() == BINARY
    assert (tmp_path / "k3s-airgap-images-amd64.tar.zst").read_bytes() == IMAGES


def test_a_file_with_another_hash_is_refused_and_not_kept(page: Page, tmp_path: Path) -> None:
    page.lists(k3s="0" * 64)
    with pytest.raises(BundleError, match="does not have the hash that its list gives") as caught:
        fetch(page, tmp_path)
    assert caught.value.code == "E-BUNDLE-DOWNLOAD"
    assert not (tmp_path / "k3s").exists()
    assert not (tmp_path / ".k3s.part").exists()


def test_it_gives_up_after_some_tries_that_brought_nothing_and_keeps_what_came(page: Page, tmp_path: Path) -> None:
    page.cut_after = [1000, *[0] * 50]
    with pytest.raises(BundleError, match="it ends too early"):
        fetch(page, tmp_path)
    assert len([name for name, _ in page.asked if name == "k3s"]) == 6
    assert (tmp_path / ".k3s.part").stat().st_size == 1000


def test_a_file_that_is_not_there_is_named(page: Page, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"sha256sum-arm64\.txt cannot be fetched: 404"):
        download_release(VERSION, [Arch.ARM64], tmp_path, base_url=page.url)


def test_a_file_beyond_all_measure_is_refused_at_once(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "_MAX_FILE_BYTES", 9999)
    with pytest.raises(BundleError, match="9999 are the most"):
        fetch(page, tmp_path)


@pytest.mark.parametrize("url", ["http://mirror.example.com/k3s", "ftp://127.0.0.1/", "file:///etc", "releases"])
def test_only_https_or_this_machine_is_asked(tmp_path: Path, url: str) -> None:
    with pytest.raises(BundleError, match="neither https nor on this machine"):
        download_release(VERSION, [Arch.AMD64], tmp_path, base_url=url)


def test_a_redirect_away_from_https_is_not_followed(page: Page, tmp_path: Path) -> None:
    page.moved_to = "http://mirror.example.com/k3s"
    with pytest.raises(BundleError, match=r"mirror\.example\.com/k3s is not fetched"):
        fetch(page, tmp_path)
