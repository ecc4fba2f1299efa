"""A console over an empty appliance, on each kind of database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from edgemgr.app import App
from edgemgr.settings import Settings
from edgemgr.store.database import Database
from edgemgr.vault.vault import Vault
from edgemgr.web.server import make_console


@pytest.fixture
def app(database: Database, settings: Settings, tmp_path: Path) -> App:
    return App(settings=settings, database=database, vault=Vault.open(tmp_path / "secret.key"))


@pytest.fixture
def client(app: App) -> Iterator[TestClient]:
    console = make_console(app)
    with TestClient(console, base_url="http://127.0.0.1:8080", raise_server_exceptions=False) as client:
        yield client
