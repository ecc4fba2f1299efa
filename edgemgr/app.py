"""Composition root: settings become an opened database, a vault and, above them, the stages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from edgemgr.errors import ConfigurationError
from edgemgr.model.work_order import ORDER_KEY
from edgemgr.settings import DATABASE_FILE, Settings, load_settings
from edgemgr.store import appliance_keys, schema
from edgemgr.store.database import Database
from edgemgr.vault.vault import Vault


@dataclass(frozen=True)
class App:
    """What every entry point works with."""

    settings: Settings
    database: Database
    vault: Vault


@contextmanager
def open_app(settings: Settings | None = None) -> Iterator[App]:
    """Open the appliance's state, making or migrating it where needed.

    Raises:
        ConfigurationError: the state directory cannot be made or written.
        StoreError: the database cannot be used.
        VaultError: the key of the secrets cannot be read.
    """
    settings = settings or load_settings()
    try:
        settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        settings.log_dir.mkdir(mode=0o700, exist_ok=True)
        if settings.database_url is None:
            (settings.state_dir / DATABASE_FILE).touch(mode=0o600)
    except OSError as exc:
        raise ConfigurationError(
            f"the state directory {settings.state_dir} cannot be used: {exc.strerror}",
            hint="Run edgemgr as its own user (or root), or set EDGEMGR_STATE_DIR to a directory that you may write.",
            code="E-CONFIG-STATE",
        ) from exc
    database = Database(settings.url)
    try:
        schema.upgrade(database)
        vault = Vault.open(settings.key_file or settings.state_dir / "secret.key")
        _have_order_key(database, vault)
        yield App(settings=settings, database=database, vault=vault)
    finally:
        database.close()


def _have_order_key(database: Database, vault: Vault) -> None:
    """The first bootstrap already tells a site whose work orders count there."""
    with database.read() as session:
        is_there = appliance_keys.find(session, ORDER_KEY) is not None
    if not is_there:
        from edgemgr.inventory.appliance_key import order_key  # not for every command: it brings the whole of SSH

        order_key(database, vault)
