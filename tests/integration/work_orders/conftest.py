"""An appliance with a bundle, and one site that a stick has been to."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from tests_support.bundle_shop import NEW, OLD
from tests_support.stick_company import Company
from tests_support.stick_node import said

from edgemgr.settings import Settings
from edgemgr.store.database import Database


@pytest.fixture
def company(database: Database, settings: Settings, tmp_path: Path) -> Company:
    company = Company(database, settings, tmp_path)
    company.imports(company.shop.bundle(1, (OLD, NEW), more=[company.shop.large(9_000_000)]))
    return company


@pytest.fixture
def trip(company: Company) -> SimpleNamespace:
    """One site that was staged from a stick; its receipt waits to be taken in."""
    node = company.node("store-0001")
    order = company.order()
    receipt = node.staged(order.directory, "--code", order.key.code)
    return SimpleNamespace(node=node, order=order, receipt=receipt, said=said(receipt))
