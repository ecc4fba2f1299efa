"""A site, its node behind a loopback sshd, and bundles that an appliance has taken in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests_support.bundle_shop import BundleShop
from tests_support.stage_node import StageNode
from tests_support.throwaway_sshd import ThrowawaySshd, running_sshd

from edgemgr.inventory.bundle_import import Importer
from edgemgr.links import transfer_node
from edgemgr.model.bundle_name import BundleName
from edgemgr.model.site import Site
from edgemgr.settings import Settings
from edgemgr.store.database import Database


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ThrowawaySshd]:
    with running_sshd(tmp_path_factory.mktemp("node"), config="Subsystem sftp internal-sftp\n") as running:
        yield running


@pytest.fixture
def site(database: Database) -> int:
    with database.write() as session:
        row = Site(name="store-1", address="127.0.0.1")
        session.add(row)
        session.flush()
        return row.id or 0


@pytest.fixture
def bring(database: Database, settings: Settings, shop: BundleShop) -> Callable[..., BundleName]:
    """Make a bundle and take it in."""

    def bring(number: int, versions: tuple[str, ...], **more: Any) -> BundleName:
        Importer(database, settings, "anna").take(shop.bundle(number, versions, **more))
        return BundleName("retail", "stable", number)

    return bring


@pytest.fixture
def node(
    database: Database,
    settings: Settings,
    sshd: ThrowawaySshd,
    tmp_path: Path,
    *,
    site: int,
    monkeypatch: pytest.MonkeyPatch,
) -> StageNode:
    made = StageNode(database, settings, sshd, tmp_path / "node", site)
    monkeypatch.setattr(transfer_node, "StorePlace", lambda: made.place)
    return made
