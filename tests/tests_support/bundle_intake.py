"""What tests of bundles on an appliance have in common: a shop that makes them, and looks at what an import left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgemgr.errors import BundleError
from edgemgr.inventory.bundle_import import Imported, Importer
from edgemgr.model.bundle import Bundle
from edgemgr.model.bundle_name import BundleName
from edgemgr.model.event import Reason
from edgemgr.settings import Settings
from edgemgr.store import bundles, events, releases
from edgemgr.store.database import Database
from tests_support.bundle_shop import BundleShop

NAME = BundleName("retail", "stable", 1)


@pytest.fixture
def shop(tmp_path: Path, settings: Settings) -> BundleShop:
    settings.state_dir.mkdir(mode=0o700)
    shop = BundleShop.open(tmp_path / "shop")
    shop.trusted_in(settings.trust_dir)
    return shop


@pytest.fixture
def take(database: Database, settings: Settings) -> Callable[..., Imported]:
    def take(path: Path, **more) -> Imported:
        changed = settings.model_copy(update=more.pop("settings", {}))
        return Importer(database, changed, more.pop("actor", "anna"), **more).take(path)

    return take


@pytest.fixture
def refused(take, database: Database, settings: Settings) -> Callable[..., BundleError]:
    """Refused with an event, and the appliance is as it was."""

    def refused(path: Path, **more) -> BundleError:
        before = traces(settings, database)
        with pytest.raises(BundleError) as caught:
            take(path, **more)
        assert traces(settings, database) == before
        newest = happened(database)[0]
        assert newest.reason == Reason.BUNDLE_REFUSED
        assert newest.type == "warning"
        assert caught.value.code in newest.message
        return caught.value

    return refused


def traces(settings: Settings, database: Database) -> SimpleNamespace:
    """Everything that an import may leave behind, but the record of what happened."""
    files = {
        str(path.relative_to(settings.state_dir))
        for part in (settings.release_dir, settings.incoming_dir, settings.trust_dir / "vendor")
        for path in part.rglob("*")
        if path.is_file() and path.name not in ("lock", ".lock")
    }
    with database.read() as session:
        rows = [(bundle.name, bundle.state) for bundle in bundles.all_bundles(session)]
        known = sorted((file.version, file.arch, file.part, file.digest) for file in releases.all_files(session))
    return SimpleNamespace(files=files, rows=rows, known=known)


def happened(database: Database) -> list:
    with database.read() as session:
        return list(events.history(session))


def stored(settings: Settings) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (settings.release_dir / "sha256").iterdir()}


def row(database: Database, name: BundleName = NAME) -> Bundle:
    with database.read() as session:
        return bundles.get(session, name)
