"""What the store refuses when two commands meet."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlmodel import select

from edgemgr.errors import ConflictError
from edgemgr.inventory.compare import Wanted, new_site
from edgemgr.model.event import Event
from edgemgr.model.site import Site
from edgemgr.store import sites
from edgemgr.store.database import Database
from edgemgr.vault.vault import Vault


def test_a_site_that_somebody_else_made_meanwhile_is_a_conflict_and_nothing_is_written(
    database: Database, tmp_path: Path
) -> None:
    vault = Vault.open(tmp_path / "secret.key")
    a, b = (new_site(Wanted({"name": name, "address": f"192.0.2.{number}"})) for number, name in enumerate("ab", 1))
    with database.write() as session:
        sites.create(session, vault, [b], actor="quicker")
    with pytest.raises(ConflictError) as caught, database.write() as session:
        sites.create(session, vault, [a, b], actor="slower")
    assert caught.value.code == "E-SITE-EXISTS"
    with database.read() as session:
        assert [site.name for site in session.exec(select(Site))] == ["b"]
        assert [event.actor for event in session.exec(select(Event))] == ["quicker"]
