from __future__ import annotations

from pathlib import Path

import pytest

from edgemgr.errors import VaultError
from edgemgr.model.secret import SealedSecret, Secret, SecretName
from edgemgr.model.site import Site
from edgemgr.store import schema, secrets
from edgemgr.store.database import Database
from edgemgr.vault.vault import Vault

CANARY = "canary-Zq81-plain"


@pytest.fixture
def site_id(database: Database) -> int:
    with database.write() as session:
        site = Site(name="store-1", address="192.0.2.1")
        session.add(site)
        session.flush()
        return site.id or 0


def test_a_secret_is_kept_replaced_and_erased(database: Database, site_id: int) -> None:
    vault = Vault(bytes(32))
    for text in ("first", CANARY):
        with database.write() as session:
            secrets.put(session, vault, site_id, SecretName.PASSWORD, Secret(text))
    with database.read() as session:
        found = secrets.get(session, vault, site_id, SecretName.PASSWORD)
        assert found is not None
        assert found.reveal() == CANARY
        assert secrets.has(session, site_id, SecretName.PASSWORD)
        assert not secrets.has(session, site_id, SecretName.PRIVATE_KEY)
    with database.write() as session:
        assert secrets.erase(session, site_id, SecretName.PASSWORD, SecretName.FIRST_KEY)
        assert not secrets.erase(session, site_id, SecretName.PASSWORD)
        assert secrets.get(session, vault, site_id, SecretName.PASSWORD) is None


def test_a_row_renamed_to_another_secret_cannot_be_opened(database: Database, site_id: int) -> None:
    vault = Vault(bytes(32))
    with database.write() as session:
        secrets.put(session, vault, site_id, SecretName.PRIVATE_KEY, Secret(CANARY))
    with database.write() as session:
        session.get_one(SealedSecret, (site_id, SecretName.PRIVATE_KEY.value)).name = SecretName.PASSWORD.value
    with database.read() as session, pytest.raises(VaultError) as caught:
        secrets.get(session, vault, site_id, SecretName.PASSWORD)
    assert caught.value.code == "E-VAULT-DAMAGED"


def test_the_plain_secret_is_nowhere_in_the_database_files(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'edgemgr.db'}")
    schema.upgrade(database)
    vault = Vault.open(tmp_path / "secret.key")
    with database.write() as session:
        site = Site(name="store-1", address="192.0.2.1")
        session.add(site)
        session.flush()
        for name in SecretName:
            secrets.put(session, vault, site.id or 0, name, Secret(f"{CANARY}-{name}"))
    held = b"".join(path.read_bytes() for path in tmp_path.iterdir())  # the write-ahead log too
    database.close()
    held += b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"store-1" in held
    assert CANARY.encode() not in held
    assert CANARY.encode("utf-16-le") not in held
