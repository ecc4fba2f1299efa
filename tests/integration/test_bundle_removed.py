"""Bundles removed again, unless somebody needs them."""

from __future__ import annotations

import pytest
from tests_support.bundle_intake import NAME, happened, stored, traces
from tests_support.bundle_shop import NEW, OLD

from edgemgr.errors import ConflictError, EdgemgrError
from edgemgr.inventory.bundle_remove import preview_removal, remove_bundle
from edgemgr.model.bundle_name import BundleName
from edgemgr.model.cluster import Cluster
from edgemgr.model.event import Reason
from edgemgr.model.operation import OperationKind
from edgemgr.model.release_file import ReleaseFile
from edgemgr.model.site import Site
from edgemgr.operations.submit import submit
from edgemgr.store import releases
from edgemgr.store.database import Database


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
