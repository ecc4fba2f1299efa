"""Bundles taken in, as an appliance does it."""

from __future__ import annotations

import hashlib
import shutil
import stat
from pathlib import Path

from tests_support.bundle_intake import NAME, happened, row, stored, traces
from tests_support.bundle_shop import NEW, OLD

from edgemgr.bundles.split import split
from edgemgr.inventory.bundle_remove import remove_bundle
from edgemgr.lab.k3s_standin.node.images import read_archive
from edgemgr.model.bundle import BundleState
from edgemgr.model.event import Reason
from edgemgr.model.release import Arch
from edgemgr.model.release_file import ReleaseFile
from edgemgr.model.site import Site
from edgemgr.operations.bootstrap import Bootstrap, BootstrapParams
from edgemgr.store import bundles, releases
from edgemgr.store.database import Database


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
