"""An appliance with a bundle, and sites that can be upgraded by it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests_support.bundle_shop import BundleShop
from tests_support.upgrade_fleet import VERSIONS, add_fleet

from edgemgr.app import open_app
from edgemgr.inventory.bundle_import import Importer
from edgemgr.settings import Settings


@pytest.fixture
def appliance(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """One with a bundle."""
    for name in ("state_dir", "runtime_dir"):
        monkeypatch.setenv(f"EDGEMGR_{name.upper()}", str(getattr(settings, name)))
    shop = BundleShop.open(tmp_path / "shop")
    with open_app(settings) as made:
        shop.trusted_in(settings.trust_dir)
        Importer(made.database, settings, "anna").take(shop.bundle(3, VERSIONS))
    return settings


@pytest.fixture
def few(appliance: Settings) -> Settings:
    with open_app(appliance) as made:
        add_fleet(made.database, 10)
    return appliance
