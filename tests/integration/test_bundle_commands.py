"""`edgemgr bundle import`, `list` and `remove` as processes; one of them is killed."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shutil
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests_support.appliance import Appliance, until
from tests_support.bundle_shop import NEW, OLD, BundleShop
from tests_support.sparse_bundle import sparse_bundle

from edgemgr.lab.k3s_standin.node.images import read_archive
from edgemgr.lab.release_files import write_standin_release
from edgemgr.model.timestamp import utc_now

GIB = 1 << 30


@pytest.fixture
def appliance(tmp_path: Path) -> Iterator[Appliance]:
    (tmp_path / "appliance").mkdir()
    appliance = Appliance(tmp_path / "appliance", tmp_path / "lab")
    yield appliance
    appliance.close()


@pytest.fixture
def shop(tmp_path: Path, appliance: Appliance) -> BundleShop:
    shop = BundleShop.open(tmp_path / "shop")
    shop.trusted_in(appliance.directory / "state" / "trust")
    return shop


def test_a_bundle_is_imported_listed_and_removed(appliance: Appliance, shop: BundleShop) -> None:
    path = shop.bundle(7, (OLD, NEW))
    appliance.run("bundle", "import", str(path))
    (item,) = appliance.items("bundle", "list")
    assert (item["name"], item["number"], item["k3s_versions"]) == ("retail/stable/7", 7, [OLD, NEW])
    assert item["digest"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert appliance.run("bundle", "list", "-o", "name") == "retail/stable/7\n"
    (line,) = csv.DictReader(io.StringIO(appliance.run("bundle", "list", "-o", "csv")))
    assert line["bundle"] == "retail/stable/7"
    assert "vendor" in appliance.run("bundle", "list")
    assert {item["version"] for item in appliance.items("release", "list")} == {OLD, NEW}

    again = appliance.attempt("bundle", "import", str(path))
    assert again.returncode == 0
    assert "is already imported" in again.stderr

    dry = json.loads(appliance.run("bundle", "remove", "retail/stable/7", "--dry-run", "-o", "json"))
    assert dry["dryRun"]
    assert dry["freedBytes"] > 0
    assert appliance.items("bundle", "list")
    appliance.run("bundle", "remove", "retail/stable/7")
    assert not appliance.items("bundle", "list")
    assert not appliance.items("release", "list")
    assert not list((appliance.directory / "state/releases/sha256").iterdir())


def test_refusals_have_a_code_a_hint_and_an_exit_status(appliance: Appliance, shop: BundleShop, tmp_path: Path) -> None:
    expired = shop.bundle(1, expires_at=utc_now() - timedelta(days=1))
    done = appliance.attempt("bundle", "import", str(expired))
    assert (done.returncode, "code: E-B030" in done.stderr, done.stdout) == (2, True, "")
    done = appliance.attempt("bundle", "import", str(expired), "--accept-expired")
    assert (done.returncode, "E-BUNDLE-REASON" in done.stderr) == (2, True)
    appliance.run("bundle", "import", str(expired), "--accept-expired", "--reason", "late stick")
    assert appliance.items("bundle", "list")[0]["accepted_reason"] == "late stick"
    for arguments, status, code in (
        (("import", str(tmp_path / "none.emb")), 2, "E-BUNDLE-FILE"),
        (("import", str(BundleShop.open(tmp_path / "other", name="other").bundle())), 2, "E-B020"),
        (("remove", "retail/stable/9"), 3, "E-BUNDLE-UNKNOWN"),
        (("remove", "../../etc"), 2, "E-BUNDLE-NAME"),
    ):
        done = appliance.attempt("bundle", *arguments)
        assert (done.returncode, f"code: {code}" in done.stderr) == (status, True), done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_an_import_that_is_killed_again_and_again_comes_to_its_end(appliance: Appliance, shop: BundleShop) -> None:
    path = shop.bundle(1, (OLD, NEW), more=[shop.large(60 << 20, f"big-{number}") for number in range(4)])
    state = appliance.directory / "state"
    blobs, copies = state / "releases/sha256", state / "incoming/copies"

    def size_of(directory: Path) -> int:
        try:
            with os.scandir(directory) as entries:
                return sum(entry.stat().st_size for entry in entries)
        except FileNotFoundError:
            return 0

    killed = 0
    for directory, at in ((copies, 20 << 20), (copies, 150 << 20), (blobs, 1), (blobs, 100 << 20), (blobs, 200 << 20)):
        process = appliance.start("bundle", "import", str(path))
        until(
            "it got so far, or ended",
            lambda d=directory, a=at, p=process: size_of(d) >= a or p.poll() is not None,
            120,
            pause_s=0.005,
        )
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            killed += 1
        process.wait(timeout=30)
        assert process.returncode in (0, -signal.SIGKILL)
    assert killed >= 3
    appliance.run("bundle", "import", str(path))
    (item,) = appliance.items("bundle", "list")
    assert (item["state"], item["digest"]) == ("imported", hashlib.sha256(path.read_bytes()).hexdigest())
    for blob in blobs.iterdir():
        assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name
    assert not list(copies.iterdir())
    appliance.run("bundle", "remove", "retail/stable/1")
    assert not list(blobs.iterdir())


@pytest.mark.exhaustive
@pytest.mark.parametrize("size_bytes", [2 * GIB + 12_345, 4 * GIB + 12_345])
def test_a_bundle_beyond_what_32_bits_count_is_taken_in_with_little_memory(
    appliance: Appliance, shop: BundleShop, size_bytes: int
) -> None:
    if shutil.disk_usage(shop.directory).free < 4 * size_bytes:
        pytest.skip("no room for a bundle of this size")
    path = sparse_bundle(shop, size_bytes)
    process = appliance.start("bundle", "import", str(path))
    most = 0

    def ended() -> bool:
        nonlocal most
        status = Path(f"/proc/{process.pid}/status")
        try:
            lines = status.read_text().splitlines()
        except OSError:
            lines = []
        most = max([most, *(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))])
        return process.poll() is not None

    until("the import has ended", ended, 1200)
    assert process.returncode == 0, appliance.tail()
    assert most < 300 << 10  # KiB
    (item,) = appliance.items("bundle", "list")
    assert item["size_bytes"] == path.stat().st_size > size_bytes


def test_what_bundle_create_makes_of_a_release_can_be_bootstrapped_elsewhere(
    appliance: Appliance, tmp_path: Path
) -> None:
    write_standin_release(tmp_path / NEW, NEW, images_mib=1)
    (tmp_path / "bundle.yaml").write_text(
        "product: retail\nnumber: 1\ntitle: Retail stores\ncontents:\n"
        f"  k3s:\n    - version: {NEW}\n      release: {NEW}\n"
    )
    keys, file = str(tmp_path / "keys"), str(tmp_path / "retail.emb")
    appliance.run("bundle", "keys", "init", keys, "--name", "vendor", "--no-passphrase")
    appliance.run("bundle", "create", "-f", str(tmp_path / "bundle.yaml"), "-o", file, "--sign-with", keys)
    (tmp_path / "root.json").write_text(appliance.run("bundle", "keys", "export-root", keys))
    fingerprint = json.loads(appliance.run("bundle", "show", file, "--root", str(tmp_path / "root.json"), "-o", "json"))
    appliance.run("bundle", "trust", "add", str(tmp_path / "root.json"), "--fingerprint", fingerprint["fingerprint"])
    appliance.run("bundle", "import", file)
    (release,) = appliance.items("release", "list")
    assert (release["version"], set(release["files"])) == (NEW, {"binary", "images"})
    blobs = appliance.directory / "state/releases/sha256"
    published = read_archive(tmp_path / NEW / "k3s-airgap-images-amd64.tar.gz")
    assert set(read_archive(blobs / release["files"]["images"])) == set(published)
    assert (blobs / release["files"]["binary"]).read_bytes() == (tmp_path / NEW / "k3s").read_bytes()
