"""Bundles taken in, refused, gone on with and removed, as an appliance does it."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests_support.bundle_shop import NEW, OLD, BundleShop

from edgemgr.bundles.keys import rotate_key
from edgemgr.bundles.split import split
from edgemgr.errors import BundleError, ConflictError, EdgemgrError
from edgemgr.inventory.bundle_import import Imported, Importer
from edgemgr.inventory.bundle_remove import preview_removal, remove_bundle
from edgemgr.inventory.content_store import ContentStore
from edgemgr.inventory.incoming import Incoming
from edgemgr.lab.k3s_standin.node.images import read_archive
from edgemgr.model.bundle import Bundle, BundleState
from edgemgr.model.bundle_name import BundleName
from edgemgr.model.cluster import Cluster
from edgemgr.model.event import Reason
from edgemgr.model.operation import OperationKind
from edgemgr.model.release import Arch
from edgemgr.model.release_file import ReleaseFile
from edgemgr.model.site import Site
from edgemgr.model.timestamp import utc_now
from edgemgr.operations.bootstrap import Bootstrap, BootstrapParams
from edgemgr.operations.submit import submit
from edgemgr.settings import Settings
from edgemgr.store import bundles, events, releases
from edgemgr.store.database import Database

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


def test_a_bundle_is_taken_in_whole_and_recorded(shop, take, database, settings) -> None:
    path = shop.bundle(1, (OLD, NEW), archs=(Arch.AMD64, Arch.ARM64))
    imported = take(path)
    assert imported.fresh
    bundle = row(database)
    assert bundle.state == BundleState.IMPORTED
    assert bundle.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (bundle.size_bytes, bundle.imported_by, bundle.root_name) == (path.stat().st_size, "anna", "vendor")
    files = stored(settings)
    assert all(hashlib.sha256(content).hexdigest() == name for name, content in files.items())
    with database.read() as session:
        targets = bundles.targets_of(session, bundle.id or 0)
    assert {target.digest for target in targets} <= set(files)
    (event,) = [event for event in happened(database) if event.reason == Reason.BUNDLE_IMPORTED]
    assert event.actor == "anna"
    for said in ("retail/stable/1", bundle.digest, *bundle.key_ids):
        assert said in event.message
    assert not list((settings.incoming_dir / "copies").iterdir())


def test_only_the_owner_can_look_into_what_is_being_taken_in(shop, take, settings) -> None:
    seen = set()

    def look(step: str, done: int, total: int) -> None:
        for path in (settings.incoming_dir, settings.incoming_dir / "copies"):
            seen.add((step, stat.S_IMODE(path.stat().st_mode)))

    take(shop.bundle(), on_progress=look)
    assert {mode for _, mode in seen} == {0o700}
    assert {"copy", "content"} <= {step for step, _ in seen}


def test_a_version_that_came_by_bundle_can_be_bootstrapped_at_once(shop, take, database, settings) -> None:
    take(shop.bundle(1, (OLD, NEW)))
    site = Site(name="store-1", address="192.0.2.1")
    with database.write() as session:
        session.add(site)
        session.flush()
        params = BootstrapParams(version=NEW)
        Bootstrap().check(session, params)
        artifacts = Bootstrap().variables(session, params, site, settings)["edge_artifacts"]
    assert {(item["part"], item["arch"], item["name"]) for item in artifacts} == {
        ("binary", "amd64", "k3s"),
        ("images", "amd64", "k3s-airgap-images-amd64.tar"),
    }
    for item in artifacts:
        content = Path(item["path"]).read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (item["digest"], item["size_bytes"])
    archive = next(Path(item["path"]) for item in artifacts if item["part"] == "images")
    assert set(read_archive(archive)) == {
        f"docker.io/rancher/{image}:{NEW.replace('+', '-')}" for image in ("coredns", "pause")
    }


def test_the_image_archive_is_the_same_whichever_bundle_it_is_made_of(shop, take, database, settings) -> None:
    take(shop.bundle(1, (NEW,)))
    (first,) = (file.digest for file in files_of(database, NEW) if file.part == "images")
    remove_bundle(database, settings, NAME, actor="anna")
    take(shop.bundle(2, (OLD, NEW), more=[shop.large(100)]))
    assert [file.digest for file in files_of(database, NEW) if file.part == "images"] == [first]


def files_of(database: Database, version: str) -> list[ReleaseFile]:
    with database.read() as session:
        return list(releases.files_of(session, version))


def test_the_same_bundle_again_changes_nothing(shop, take, database, settings) -> None:
    path = shop.bundle()
    take(path)
    before, count = traces(settings, database), len(happened(database))
    again = take(path, actor="bert")
    assert not again.fresh
    assert traces(settings, database) == before
    assert len(happened(database)) == count
    assert row(database).imported_by == "anna"


def test_content_that_is_missing_here_is_brought_by_the_same_bundle(shop, take, database, settings) -> None:
    """As on the second machine of an appliance, which shares the database and not the files."""
    path = shop.bundle()
    take(path)
    before = stored(settings)
    shutil.rmtree(settings.release_dir)
    assert take(path, actor="bert").fresh
    assert stored(settings) == before


def test_a_split_bundle_is_taken_in_from_its_directory(shop, take, database, tmp_path) -> None:
    path = shop.bundle(more=[shop.large(300_000)])
    stick = tmp_path / "stick"
    stick.mkdir()
    shutil.copy(path, stick)
    split(stick / path.name, 100_000)
    (stick / path.name).unlink()
    take(stick)
    assert row(database).digest == hashlib.sha256(path.read_bytes()).hexdigest()


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


def test_another_program_under_the_same_version_is_refused(shop, refused, database) -> None:
    other = ReleaseFile(version=NEW, arch="amd64", part="binary", name="k3s", digest="0" * 64, size_bytes=1)
    with database.write() as session:
        releases.add(session, [other], actor="anna")
    assert refused(shop.bundle()).code == "E-BUNDLE-RELEASE"


def test_a_release_that_was_added_before_keeps_its_own_archive(shop, take, database, settings) -> None:
    (program,) = [item for item in shop.release(NEW, Arch.AMD64) if item.name.startswith("k3s/")]
    mine = [
        ReleaseFile(version=NEW, arch="amd64", part=part, name=name, digest=digest, size_bytes=1)
        for part, name, digest in (("binary", "k3s", program.digest), ("images", "published.tar.zst", "1" * 64))
    ]
    with database.write() as session:
        releases.add(session, mine, actor="anna")
    take(shop.bundle())
    assert {file.name for file in files_of(database, NEW)} == {"k3s", "published.tar.zst"}
    remove_bundle(database, settings, NAME, actor="anna")
    assert len(files_of(database, NEW)) == 2


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


def test_removing_a_bundle_leaves_what_others_hold(shop, take, database, settings) -> None:
    take(shop.bundle(1, (OLD, NEW)))
    take(shop.bundle(2, (NEW,)))
    preview = preview_removal(database, NAME)
    assert preview.versions == (f"{OLD}/amd64",)
    assert traces(settings, database).rows == [("retail/stable/2", "imported"), ("retail/stable/1", "imported")]
    removal = remove_bundle(database, settings, NAME, actor="anna")
    assert (removal.blobs, removal.freed_bytes) == (preview.blobs, preview.freed_bytes)
    assert {file.version for file in all_files(database)} == {NEW}
    for file in all_files(database):
        assert file.digest in stored(settings)
    assert happened(database)[0].reason == Reason.BUNDLE_REMOVED
    remove_bundle(database, settings, BundleName("retail", "stable", 2), actor="anna")
    assert stored(settings) == {}
    assert not all_files(database)


def all_files(database: Database) -> list[ReleaseFile]:
    with database.read() as session:
        return list(releases.all_files(session))


def wanted(session, site: Site) -> None:
    site.k3s_version = NEW


def observed(session, site: Site) -> None:
    session.add(Cluster(site_id=site.id, k3s_version=NEW, arch="amd64"))


def under_way(session, site: Site) -> None:
    submit(session, OperationKind.BOOTSTRAP, {"version": NEW}, [site.id], actor="anna")
    site.k3s_version = None


@pytest.mark.parametrize(
    "use",
    [
        (wanted, "is wanted on store-1"),
        (observed, "runs on store-1"),
        (under_way, "is being brought to store-1"),
    ],
    ids=["wanted", "observed", "under way"],
)
def test_a_bundle_that_a_site_needs_is_not_removed(shop, take, database, settings, use: tuple) -> None:
    take(shop.bundle(1, (OLD, NEW)))
    with database.write() as session:
        site = Site(name="store-1", address="192.0.2.1", arch="amd64")
        session.add(site)
        session.flush()
        use[0](session, site)
    before = traces(settings, database)
    with pytest.raises(ConflictError) as caught:
        remove_bundle(database, settings, NAME, actor="anna")
    assert caught.value.code == "E-BUNDLE-IN-USE"
    assert use[1] in caught.value.message
    assert traces(settings, database) == before
    assert preview_removal(database, NAME).uses
    take(shop.bundle(2, (NEW,)))
    remove_bundle(database, settings, NAME, actor="anna")  # the version has another home now


def test_a_site_of_another_architecture_needs_nothing_of_it(shop, take, database, settings) -> None:
    take(shop.bundle())
    with database.write() as session:
        session.add(Site(name="store-1", address="192.0.2.1", arch="arm64", k3s_version=NEW))
    remove_bundle(database, settings, NAME, actor="anna")


def test_a_bundle_that_is_not_there_is_an_error_with_the_known_ones(shop, take, database, settings) -> None:
    take(shop.bundle(4))
    with pytest.raises(EdgemgrError) as caught:
        remove_bundle(database, settings, NAME, actor="anna")
    assert caught.value.code == "E-BUNDLE-UNKNOWN"
    assert "retail/stable/4" in caught.value.message
