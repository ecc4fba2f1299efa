"""What every test may ask for: a clean environment, a database of either kind, a vault, an appliance."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from tests_support.lab_turns import LabsInTurn
from tests_support.postgresql import PostgresServer, find_postgresql

from edgemgr.settings import Settings
from edgemgr.store import schema
from edgemgr.store.database import Database

# That a machine is busy is no fault of what is tested.
hypothesis.settings.register_profile("edgemgr", deadline=None)
hypothesis.settings.load_profile("edgemgr")


def pytest_configure() -> None:
    """A run in the background ignores SIGINT, and programs that tests start and interrupt would inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LabsInTurn:
    """With `-n 2`."""
    return LabsInTurn(config, log)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The settings of whoever runs the tests must not reach them."""
    for name in list(os.environ):
        if name.startswith("EDGEMGR_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("EDGEMGR_CONFIG", str(tmp_path / "no-config.toml"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings whose every directory lies in the test's own."""
    return Settings(state_dir=tmp_path / "state", runtime_dir=tmp_path / "run", lab_dir=tmp_path / "lab", lease_s=5.0)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL of our own for the whole run, from the programs that Debian installed."""
    server = PostgresServer(find_postgresql())
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty, migrated database; the test runs once on each kind."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'edgemgr.db'}"
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        url = server.new_database()
    database = Database(url)
    schema.upgrade(database)
    yield database
    database.close()
