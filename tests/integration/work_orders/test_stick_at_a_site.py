"""The script of a stick, run on file trees with real host keys in the place of nodes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests_support.appliance import until
from tests_support.stick_company import NAME, Company
from tests_support.stick_node import StickNode, make_key, said, signed_by

from edgemgr.links.stick_stage import ORDER_FILE
from edgemgr.model.bundle_name import BundleName
from edgemgr.model.event import Reason
from edgemgr.model.release import Arch
from edgemgr.store import bundles, work_orders

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the script of a stick works as root")
WRONG = "AAAA-BBBB-CCCC-DDDD-EEEE"


def resigned(company: Company, order: SimpleNamespace) -> Path:
    """The same stick, its order signed with a key that somebody else made."""
    stick = company.directory / "forged"
    shutil.copytree(order.directory, stick)
    make_key(company.directory / "thief")
    document = said(stick / ORDER_FILE)
    (stick / ORDER_FILE).write_bytes(signed_by(company.directory / "thief", document, "edgemgr-workorder"))
    return stick


def test_a_site_without_a_link_is_staged_and_its_receipt_taken_in(company: Company) -> None:
    node = company.node("store-0001")
    company.node("store-0002")
    order = company.order()
    assert order.sites == ("store-0001", "store-0002")
    assert {event.site_name for event in company.happened(Reason.WORK_ORDER_WRITTEN)} == set(order.sites)

    receipt = node.staged(order.directory, "--code", order.key.code.lower().replace("-", " "))
    with company.database.read() as session:
        bundle = bundles.get(session, NAME)
        targets = bundles.targets_of(session, bundle.id or 0)
        archives = {release.archive_digest for release in bundles.releases_of(session, bundle.id or 0)}
    wanted = archives | {target.digest for target in targets if target.kind in ("k3s-binary", "chart")}
    assert node.held == wanted
    for path in node.cache.iterdir():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
    assert node.cache.stat().st_mode & 0o777 == 0o700
    sets = json.loads((node.cache.parent / "staged.json").read_text())["sets"]
    assert sets == [{"bundle": "retail/stable/1", "digests": sorted(wanted)}]

    outcome = company.takes(receipt)
    assert (outcome.order, outcome.site, outcome.bundle) == (order.number, "store-0001", "retail/stable/1")
    assert outcome.blobs == len(wanted)
    with company.database.read() as session:
        mine, other = work_orders.lines(session)
    assert (mine.state, mine.received_by, mine.blobs) == ("staged", "ben", len(wanted))
    assert mine.staged_at is not None
    assert mine.copied_bytes == sum(path.stat().st_size for path in node.cache.iterdir())
    assert (other.site, other.state, other.staged_at) == ("store-0002", "owed", None)
    (event,) = company.happened(Reason.RECEIPT_IMPORTED)
    assert (event.site_name, event.actor) == ("store-0001", "ben")
    assert "retail/stable/1" in event.message


def test_the_code_is_asked_once_and_then_only_that_appliance_counts(company: Company, trip) -> None:
    node, order = trip.node, trip.order
    assert node.staged(order.directory) == trip.receipt  # nothing is typed any more
    other = resigned(company, order)
    assert node.refused(other, "--code", order.key.code) == "E-STICK-SIGNATURE"


def test_without_the_right_code_nothing_is_copied(company: Company) -> None:
    node = company.node("store-0001")
    order = company.order()
    assert node.refused(order.directory) == "E-STICK-CODE"
    assert node.refused(order.directory, "--code", WRONG) == "E-STICK-CODE"
    assert node.refused(resigned(company, order), "--code", order.key.code) == "E-STICK-CODE"
    assert not (node.root / "var").exists()


@pytest.mark.parametrize("change", [b'"amd64"', b'"number":', b"store-0001"])
def test_an_altered_order_is_refused_at_the_site(company: Company, change: bytes) -> None:
    node = company.node("store-0001")
    order = company.order()
    path = order.directory / ORDER_FILE
    data = path.read_bytes()
    at = data.index(change) + 2
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    assert node.refused(order.directory, "--code", order.key.code) == "E-STICK-SIGNATURE"
    path.write_bytes(data[:-40])
    assert node.refused(order.directory, "--code", order.key.code) == "E-STICK-ORDER"
    assert node.held == set()


def test_a_stick_at_the_wrong_site_does_nothing(company: Company, tmp_path: Path) -> None:
    company.node("store-0001")
    order = company.order()
    stranger = StickNode(tmp_path / "stranger")
    assert stranger.refused(order.directory, "--code", order.key.code) == "E-STICK-SITE"
    shutil.copy(company.nodes["store-0001"].key.with_suffix(".pub"), stranger.key.with_suffix(".pub"))
    assert stranger.refused(order.directory, "--code", order.key.code) == "E-STICK-SITE"  # a public file proves nothing
    assert stranger.held == set()
    assert not (stranger.root / "var").exists()


def test_a_node_of_another_architecture_gets_nothing(company: Company) -> None:
    company.imports(company.shop.bundle(2, archs=(Arch.ARM64,)))
    node = company.node("store-0001", arch="arm64")
    order = company.write(BundleName("retail", "stable", 2), company.directory / "arm")
    assert node.refused(order.directory, "--code", order.key.code) == "E-STICK-ARCH"
    assert node.held == set()


def test_a_damaged_stick_brings_the_rest_and_no_receipt(company: Company) -> None:
    node = company.node("store-0001")
    order = company.order()
    blobs = sorted((order.directory / "blobs/sha256").iterdir())
    good = blobs[0].read_bytes()
    blobs[0].write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    gone = blobs[1].read_bytes()
    blobs[1].unlink()
    assert node.refused(order.directory, "--code", order.key.code) == "E-STICK-DAMAGED"
    assert node.held == {path.name for path in blobs[2:]}
    assert not (order.directory / "receipts").exists()
    blobs[0].write_bytes(good)
    blobs[1].write_bytes(gone)
    receipt = node.staged(order.directory)
    assert said(receipt)["copied_bytes"] == len(good) + len(gone)
    company.takes(receipt)


def test_a_run_that_is_killed_goes_on_where_it_was(company: Company, tmp_path: Path) -> None:
    node = company.node("store-0001")
    chart = company.shop.large(60 << 20, "huge")
    company.imports(company.shop.bundle(3, more=[chart]))
    order = company.write(BundleName("retail", "stable", 3), tmp_path / "stick")
    part = node.cache / f"{chart.digest}.part"

    def has(size_bytes: int) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return part.stat().st_size >= size_bytes
        return (node.cache / chart.digest).exists()

    for at in (1 << 20, 20 << 20):
        process = subprocess.Popen(
            node.script(order.directory, "--code", order.key.code),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        until("a part of the large file is there", lambda size=at: has(size), 60, pause_s=0.001)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=30)
    had = part.stat().st_size if part.exists() else chart.size_bytes
    receipt = node.staged(order.directory, "--code", order.key.code)
    assert (node.cache / chart.digest).read_bytes() == chart.path.read_bytes()
    assert said(receipt)["copied_bytes"] <= sum(path.stat().st_size for path in node.cache.iterdir()) - had
    assert not list(node.cache.glob("*.part"))


def test_what_is_there_is_not_copied_again_and_the_previous_set_stays_known(company: Company, trip) -> None:
    again = said(trip.node.staged(trip.order.directory))
    assert again["copied_bytes"] == 0
    assert again["blobs"] == trip.said["blobs"]
    record = trip.node.cache.parent / "staged.json"
    record.write_text(json.dumps({"sets": [{"bundle": "retail/stable/0", "digests": []}]}))
    trip.node.staged(trip.order.directory)
    assert [each["bundle"] for each in json.loads(record.read_text())["sets"]] == ["retail/stable/1", "retail/stable/0"]


def test_a_receipt_survives_a_stick_that_cannot_be_written(company: Company) -> None:
    node = company.node("store-0001")
    order = company.order()
    (order.directory / "receipts").write_text("a file in the place of the directory")
    receipt = node.staged(order.directory, "--code", order.key.code)
    assert receipt.is_relative_to(node.root / "var/lib/edgemgr/receipts")
    (order.directory / "receipts").unlink()
    (company.directory / "elsewhere").mkdir()
    (order.directory / "receipts").symlink_to(company.directory / "elsewhere")
    assert node.staged(order.directory).is_relative_to(node.root)
    assert not list((company.directory / "elsewhere").iterdir())
    company.takes(receipt)


def test_no_module_of_the_stick_is_run_in_the_place_of_pythons_own(company: Company) -> None:
    node = company.node("store-0001")
    order = company.order()
    for name in ("json", "hashlib", "argparse"):
        (order.directory / f"{name}.py").write_text("raise SystemExit(99)\n")
    node.staged(order.directory, "--code", order.key.code)


def test_an_old_stick_brings_nothing_back(company: Company) -> None:
    node = company.node("store-0001")
    old, new = company.order(), company.order()
    node.staged(new.directory, "--code", new.key.code)
    for path in node.cache.iterdir():
        path.unlink()
    assert node.refused(old.directory) == "E-STICK-OLDER"
    assert node.held == set()
    node.staged(new.directory)
    newer = company.order()
    company.takes(node.staged(newer.directory))


def test_a_node_that_was_bootstrapped_knows_its_appliance_without_a_code(company: Company) -> None:
    node = company.node("store-0001")
    order = company.order()
    keys = node.root / "var/lib/edgemgr/appliance-keys.pub"
    keys.parent.mkdir(parents=True)
    for wrong in (b"", b"\xff\xfe\n", b"ssh-ed25519 AAAA somebody\n"):
        keys.write_bytes(wrong)
        assert node.refused(order.directory, "--code", order.key.code) == "E-STICK-SIGNATURE"
    keys.write_text(order.key.public + "\n")
    company.takes(node.staged(order.directory))
