"""Imports that broke off and go on, and what they leave behind when they must not."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from tests_support.bundle_intake import NAME, row, stored
from tests_support.bundle_shop import NEW, OLD

from edgemgr.errors import BundleError, ConflictError
from edgemgr.inventory.bundle_remove import remove_bundle
from edgemgr.inventory.incoming import Incoming
from edgemgr.model.bundle import BundleState
from edgemgr.model.release_file import ReleaseFile
from edgemgr.store import bundles, releases


def test_two_imports_at_once_are_one_too_many(shop, take, settings) -> None:
    with Incoming(settings.incoming_dir).locked(), pytest.raises(ConflictError) as caught:
        take(shop.bundle())
    assert caught.value.code == "E-BUNDLE-BUSY"


class CutError(Exception):
    pass


def broken_off(take, path: Path, at: str, after: int = 0) -> None:
    """An import that ends in the middle of a step, without any clearing up."""

    def cut(step: str, done: int, _total: int) -> None:
        if step.startswith(at) and done > after:
            raise CutError

    with pytest.raises(CutError):
        take(path, on_progress=cut)


@pytest.mark.parametrize(("at", "after"), [("copy", 2 << 20), ("content", 0), ("content", 3 << 20), ("images", 0)])
def test_an_import_that_broke_off_goes_on(shop, take, settings, at: str, after: int) -> None:
    path = shop.bundle(1, (OLD, NEW), more=[shop.large(5 << 20), shop.large(4 << 20, "second")])
    broken_off(take, path, at, after)
    kept = set(stored(settings)) if at != "copy" else set()
    copied: list[int] = []
    imported = take(path, on_progress=lambda step, done, _total: copied.append(done) if step == "copy" else None)
    assert imported.bundle.state == BundleState.IMPORTED
    assert imported.bundle.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert kept <= set(stored(settings))
    assert not list((settings.incoming_dir / "copies").iterdir())


def test_content_that_is_there_is_not_written_again(shop, take, settings) -> None:
    path = shop.bundle(more=[shop.large(5 << 20), shop.large(4 << 20, "second")])
    broken_off(take, path, "images")
    before = {file.name: file.stat().st_ino for file in (settings.release_dir / "sha256").iterdir()}
    take(path)
    after = {file.name: file.stat().st_ino for file in (settings.release_dir / "sha256").iterdir()}
    assert before.items() <= after.items()


def test_a_copy_that_lost_bytes_with_the_power_is_made_anew(shop, take, settings) -> None:
    path = shop.bundle(more=[shop.large(5 << 20)])
    broken_off(take, path, "copy", 4 << 20)
    (copy,) = (settings.incoming_dir / "copies").iterdir()
    with copy.open("r+b") as file:
        file.seek(2 << 20)
        file.write(bytes(4096))
    assert take(path).fresh


def test_an_unfinished_import_is_listed_and_can_be_removed(shop, take, database, settings) -> None:
    path = shop.bundle(more=[shop.large(5 << 20)])
    broken_off(take, path, "content", 3 << 20)
    assert row(database).state == BundleState.IMPORTING
    with database.read() as session:
        assert not releases.all_files(session)
    remove_bundle(database, settings, NAME, actor="anna")
    assert not stored(settings)
    assert not list((settings.incoming_dir / "copies").iterdir())


def test_a_refusal_in_the_end_takes_away_what_earlier_tries_wrote(shop, take, database, settings) -> None:
    path = shop.bundle(more=[shop.large(5 << 20)])
    broken_off(take, path, "images")
    with database.write() as session:
        other = ReleaseFile(version=NEW, arch="amd64", part="binary", name="k3s", digest="0" * 64, size_bytes=1)
        releases.add(session, [other], actor="anna")
    with pytest.raises(BundleError):
        take(path)
    assert not stored(settings)
    with database.read() as session:
        assert not bundles.all_bundles(session)
