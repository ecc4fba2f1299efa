"""Bundles that are refused: the appliance is as it was, and the refusal is recorded."""

from __future__ import annotations

import errno
import hashlib
import os
from datetime import timedelta
from types import SimpleNamespace

import pytest
from tests_support.bundle_intake import happened, row, stored
from tests_support.bundle_shop import OLD, BundleShop

from edgemgr.bundles.keys import rotate_key
from edgemgr.bundles.split import split
from edgemgr.inventory.bundle_remove import remove_bundle
from edgemgr.inventory.content_store import ContentStore
from edgemgr.inventory.incoming import Incoming
from edgemgr.model.bundle_name import BundleName
from edgemgr.model.timestamp import utc_now


def test_a_damaged_part_is_named(shop, refused, tmp_path) -> None:
    path = shop.bundle(more=[shop.large(300_000)])
    parts = split(path, 100_000)
    path.unlink()
    part = next(part for part in parts if part.name.endswith(".003"))
    content = bytearray(part.read_bytes())
    content[500] ^= 1
    part.chmod(0o600)
    part.write_bytes(content)
    fault = refused(parts[0])
    assert fault.code == "E-B011"
    assert part.name in fault.hint


def test_every_kind_of_damage_is_refused_and_leaves_nothing(shop, refused) -> None:
    path = shop.bundle()
    good = path.read_bytes()
    cases = {
        "flipped": (good[: len(good) // 2] + bytes([good[len(good) // 2] ^ 1]) + good[len(good) // 2 + 1 :], "E-B011"),
        "cut": (good[:-700], "E-B010"),
        "cut early": (good[:30_00], "E-B010"),
        "longer": (good + bytes(512), "E-B070"),
        "none": (b"PK" + bytes(5000), "E-B001"),
        "empty": (b"", "E-B010"),
    }
    for name, (content, code) in cases.items():
        path.chmod(0o600)
        path.write_bytes(content)
        assert refused(path).code == code, name


def test_a_file_that_changes_after_the_first_look_is_judged_by_the_copy(shop, refused, monkeypatch) -> None:
    path = shop.bundle(more=[shop.large(3 << 20)])
    copy = Incoming.copy

    def swapped(self, source, *args, **more):
        with path.open("r+b") as file:
            file.seek(-5000, os.SEEK_END)
            file.write(b"evil")
        return copy(self, source, *args, **more)

    path.chmod(0o600)
    monkeypatch.setattr(Incoming, "copy", swapped)
    assert refused(path).code == "E-B011"


def test_what_changes_on_the_stick_after_the_copy_changes_nothing(shop, take, settings) -> None:
    path = shop.bundle(more=[shop.large(3 << 20)])
    path.chmod(0o600)

    def overwrite(step: str, _done: int, _total: int) -> None:
        if step == "content" and path.stat().st_size:
            path.write_bytes(b"")

    take(path, on_progress=overwrite)
    assert all(hashlib.sha256(content).hexdigest() == name for name, content in stored(settings).items())


def test_a_bundle_of_somebody_else_is_refused(shop, refused, tmp_path) -> None:
    assert refused(BundleShop.open(tmp_path / "other", name="other").bundle()).code == "E-B020"
    assert refused(BundleShop.open(tmp_path / "same-name").bundle()).code == "E-B020"


def test_a_development_bundle_is_refused_where_a_release_root_is_trusted(shop, refused, tmp_path) -> None:
    other = BundleShop.open(tmp_path / "dev", name="dev", purpose="development")
    assert refused(other.bundle()).code == "E-B022"


def test_a_step_back_is_refused_and_cannot_be_forced(shop, take, refused) -> None:
    take(shop.bundle(15))
    assert refused(shop.bundle(12)).code == "E-B040"
    assert refused(shop.bundle(12), accepted_reason="please").code == "E-B040"
    take(shop.bundle(3, product="other"))  # numbers are compared within a product


def test_a_step_back_is_refused_after_the_newer_one_was_removed(shop, take, refused, database, settings) -> None:
    path = shop.bundle(15)
    take(path)
    remove_bundle(database, settings, BundleName("retail", "stable", 15), actor="anna")
    assert refused(shop.bundle(12)).code == "E-B040"
    assert take(path).fresh


def test_a_number_is_used_once(shop, take, refused) -> None:
    take(shop.bundle(15))
    assert refused(shop.bundle(15, (OLD,), file="again.emb")).code == "E-B040"


def test_looking_at_a_refused_newer_bundle_does_not_make_an_older_one_a_step_back(shop, take, refused) -> None:
    newer = shop.bundle(7)
    content = bytearray(newer.read_bytes())
    content[-5000] ^= 1
    newer.chmod(0o600)
    newer.write_bytes(content)
    refused(newer)
    assert take(shop.bundle(5)).fresh


def test_a_bundle_signed_after_a_change_of_keys_is_taken_and_the_new_root_kept(shop, take, database) -> None:
    take(shop.bundle(1))
    rotate_key(shop.keys, "release", passphrase=None, now=utc_now())
    take(shop.bundle(2, (OLD,)))
    first, second = row(database), row(database, BundleName("retail", "stable", 2))
    assert first.key_ids != second.key_ids


def test_an_expired_bundle_is_taken_once_for_a_reason(shop, take, refused, database) -> None:
    past = utc_now() - timedelta(days=2)
    assert refused(shop.bundle(1, expires_at=past)).code == "E-B030"
    take(shop.bundle(1, expires_at=past), accepted_reason="the stick was late")
    assert row(database).accepted_reason == "the stick was late"
    assert "the stick was late" in happened(database)[0].message
    assert refused(shop.bundle(2, expires_at=past)).code == "E-B030"


def test_a_reason_is_not_recorded_for_a_bundle_that_needed_none(shop, take, database) -> None:
    take(shop.bundle(), accepted_reason="just in case")
    assert row(database).accepted_reason == ""


def test_a_bundle_without_room_is_refused_before_anything_is_written(shop, refused, monkeypatch) -> None:
    path = shop.bundle()
    usage = SimpleNamespace(total=1 << 40, used=0, free=(64 << 20) + 1000)
    monkeypatch.setattr("edgemgr.inventory.bundle_room.shutil.disk_usage", lambda _: usage)
    fault = refused(path)
    assert fault.code == "E-B060"
    assert "64.0 MiB free" in fault.message


@pytest.mark.parametrize("at", [1, 3, 8])
def test_a_disk_that_fills_up_on_the_way_leaves_nothing(shop, refused, monkeypatch, at: int) -> None:
    path, take, calls = shop.bundle(), ContentStore.take, []

    def full(self, chunks, **more):
        calls.append(more)
        if len(calls) == at:
            raise OSError(errno.ENOSPC, "No space left on device")
        return take(self, chunks, **more)

    monkeypatch.setattr(ContentStore, "take", full)
    assert refused(path).code == "E-B060"
    assert len(calls) == at


def test_a_disk_that_cannot_be_written_leaves_nothing(shop, refused, monkeypatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Incoming, "copy", broken)
    assert refused(shop.bundle()).code == "E-BUNDLE-FILE"


def test_a_bundle_beyond_the_quota_is_refused(shop, refused) -> None:
    path = shop.bundle(more=[shop.large(3 << 20)])
    fault = refused(path, settings={"bundle_quota_mib": 5})
    assert fault.code == "E-BUNDLE-QUOTA"
    assert "of the quota of 5 MiB" in fault.message


def test_a_bundle_larger_than_allowed_is_refused(shop, refused) -> None:
    path = shop.bundle(more=[shop.large(3 << 20)])
    assert refused(path, settings={"bundle_max_mib": 2}).code == "E-B060"
