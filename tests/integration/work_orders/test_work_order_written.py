"""Work orders as they are written: who gets one, what lies on the stick, and what is left when it cannot be."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests_support.bundle_shop import NEW
from tests_support.stick_company import NAME, Company, files_of

from edgemgr.errors import EdgemgrError, UsageError
from edgemgr.inventory import workorder_files
from edgemgr.inventory.appliance_key import order_key
from edgemgr.inventory.content_store import ContentStore
from edgemgr.links.stick_stage import ORDER_FILE
from edgemgr.model.event import Reason
from edgemgr.model.site import Trust
from edgemgr.model.work_order import WorkOrderSite
from edgemgr.operations.bootstrap import Bootstrap, BootstrapParams
from edgemgr.store import bundles, work_orders

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the script of a stick works as root")


@pytest.fixture
def unwritten(company: Company) -> Callable[..., str]:
    """An order that cannot be written: its code; nothing is left of it but what lay there before."""

    def unwritten(directory: Path | None = None) -> str:
        directory = directory or company.directory / "stick"
        before = files_of(directory) if directory.exists() else None
        with pytest.raises(EdgemgrError) as caught:
            company.order(directory=directory)
        assert (files_of(directory) if directory.exists() else None) == before or not files_of(directory)
        with company.database.read() as session:
            assert work_orders.lines(session) == []
            assert session.get(WorkOrderSite, (1, 1)) is None
        assert company.happened(Reason.WORK_ORDER_WRITTEN) == []
        return caught.value.code

    return unwritten


def test_what_lies_on_a_stick_fits_on_fat_and_tells_no_address_and_no_secret(company: Company) -> None:
    company.node("store-0001")
    order = company.order(piece_bytes=4_000_000)
    sizes = files_of(order.directory)
    assert max(sizes.values()) <= 4_000_000
    assert len([name for name in sizes if name.endswith(".003")]) == 1  # the chart of 9 MB
    for name in sizes:
        assert not set(name) & set('\\:*?"<>|')
        assert all(len(part) < 128 for part in name.split("/"))
        assert not name.endswith((".", " "))
    text = (order.directory / ORDER_FILE).read_text()
    assert "192.0.2.1" not in text
    assert "root" not in text
    assert not any(path.stat().st_nlink > 1 for path in order.directory.rglob("*") if path.is_file())
    node = company.nodes["store-0001"]
    company.takes(node.staged(order.directory, "--code", order.key.code))


def test_one_key_signs_every_order_and_its_private_half_is_sealed(company: Company) -> None:
    company.node("store-0001")
    key = order_key(company.database, company.vault)
    assert company.order().key == company.order().key == key
    with company.database.read() as session:
        row = session.connection().exec_driver_sql("SELECT * FROM appliance_key").mappings().one()
    assert b"OPENSSH" not in b"".join(value for value in row.values() if isinstance(value, bytes))


def test_a_bootstrap_brings_the_key_that_signs_the_orders(company: Company) -> None:
    company.node("store-0001")

    def told() -> object:
        with company.database.read() as session:
            (site,) = company.sites(session)
            return Bootstrap().variables(session, BootstrapParams(version=NEW), site, company.settings)[
                "edge_order_key"
            ]

    assert told() == "", "nothing is taken away from a node where no key was made yet"
    key = order_key(company.database, company.vault)
    assert told() == key.public


def test_only_sites_that_can_be_told_from_others_get_orders(company: Company, unwritten) -> None:
    company.node("store-0001")
    company.change("store-0001", trust=Trust.SEEN.value)
    assert unwritten() == "E-ORDER-PIN"
    company.change("store-0001", trust=Trust.PINNED.value, arch=None)
    assert unwritten() == "E-ORDER-ARCH"
    company.change("store-0001", arch="arm64")
    assert unwritten() == "E-B050"
    company.change("store-0001", arch="amd64")
    company.node("store-0002")
    company.change("store-0002", host_key_fingerprint=company.nodes["store-0001"].fingerprint)
    assert unwritten() == "E-ORDER-DUPLICATE"


def test_a_directory_that_holds_something_is_left_alone(company: Company, unwritten, tmp_path: Path) -> None:
    company.node("store-0001")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/precious").write_text("mine")
    assert unwritten(tmp_path / "full") == "E-ORDER-DIRECTORY"
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError):
        company.order(directory=tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_stick_that_is_too_small_or_fills_up_is_told(company: Company, unwritten, monkeypatch) -> None:
    company.node("store-0001")
    with monkeypatch.context() as patched:
        usage = SimpleNamespace(total=1 << 20, used=0, free=1 << 20)
        patched.setattr(workorder_files.shutil, "disk_usage", lambda _path: usage)
        assert unwritten() == "E-ORDER-ROOM"

    def full(_pieces: list[Path]) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(workorder_files, "_read_back", full)
        assert unwritten() == "E-ORDER-ROOM"
        patched.setattr(workorder_files, "_read_back", lambda _pieces: "0" * 64)
        assert unwritten() == "E-ORDER-STICK"


def test_a_write_that_is_interrupted_leaves_no_order(company: Company, monkeypatch) -> None:
    def interrupted(_pieces: list[Path]) -> str:
        raise KeyboardInterrupt

    company.node("store-0001")
    with monkeypatch.context() as patched:
        patched.setattr(workorder_files, "_read_back", interrupted)
        with pytest.raises(KeyboardInterrupt):
            company.order(directory=company.directory / "stick")
    assert not (company.directory / "stick").exists()
    assert company.order(directory=company.directory / "stick").number == 2  # numbers are never used again


def test_a_stick_that_is_pulled_out_while_written_leaves_no_order(company: Company, unwritten, monkeypatch) -> None:
    company.node("store-0001")
    stick = company.directory / "stick"

    def pulled(_pieces: list[Path]) -> str:
        shutil.rmtree(stick)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(workorder_files, "_read_back", pulled)
    assert unwritten(stick) == "E-ORDER-DIRECTORY"


def test_a_damaged_content_store_is_not_carried_anywhere(company: Company, unwritten) -> None:
    company.node("store-0001")
    with company.database.read() as session:
        bundle = bundles.get(session, NAME)
        chart = next(t for t in bundles.targets_of(session, bundle.id or 0) if t.kind == "chart")
    path = ContentStore(company.settings.release_dir).path(chart.digest)
    path.chmod(0o600)
    path.write_bytes(b"x" + path.read_bytes()[1:])
    assert unwritten() == "E-ORDER-SOURCE"
    path.unlink()
    assert unwritten() == "E-ORDER-SOURCE"
