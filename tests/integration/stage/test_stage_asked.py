"""Asking for a stage: what is refused before anything is sent, and what is foretold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from tests_support.bundle_shop import NEW, OLD
from tests_support.stage_node import ask_for, set_of

from edgemgr.errors import BundleError, ConflictError, EdgemgrError
from edgemgr.inventory.bundle_remove import remove_bundle
from edgemgr.inventory.stage_forecast import forecast
from edgemgr.model.bundle_name import BundleName
from edgemgr.model.cluster import Cluster
from edgemgr.model.release import Arch
from edgemgr.model.site import Site
from edgemgr.model.timestamp import utc_now
from edgemgr.model.transfer import Transfer
from edgemgr.settings import Settings
from edgemgr.store import bundles, stages
from edgemgr.store.database import Database
from edgemgr.store.stage_item import stage_items


def refusal(database: Database, site: int, name: BundleName) -> EdgemgrError:
    with pytest.raises(EdgemgrError) as caught:
        ask_for(database, site, name)
    return caught.value


def test_what_is_known_of_a_site_is_held_against_the_bundle_when_it_is_asked_for(
    database: Database, site: int, bring: Callable[..., BundleName]
) -> None:
    name = bring(1, (NEW,), archs=(Arch.ARM64,))
    ask_for(database, site, name)
    with database.write() as session:
        session.get_one(Site, site).arch = "amd64"
    fault = refusal(database, site, name)
    assert (fault.code, "1 of 1 selected sites is amd64 (store-1)" in fault.message) == ("E-B050", True)
    with database.write() as session:
        session.get_one(Site, site).arch = "arm64"
        session.add(Cluster(site_id=site, k3s_version="v1.31.4+k3s1"))
        bundle = bundles.get(session, name)
        bundle.from_versions = ["v1.33"]
    fault = refusal(database, site, name)
    assert (fault.code, fault.message) == (
        "E-B051",
        "store-1 runs v1.31.4+k3s1; this bundle upgrades from v1.33.x.",
    )
    for version in (OLD, NEW):
        with database.write() as session:
            session.get_one(Cluster, site).k3s_version = version
        ask_for(database, site, name)


@pytest.mark.parametrize(("seen", "is_refused"), [("armhf", False), ("arm", False), ("armv7l", False), ("arm64", True)])
def test_a_site_of_32_bit_arm_is_known_by_every_name_that_nodes_give_it(
    database: Database, site: int, bring: Callable[..., BundleName], *, seen: str, is_refused: bool
) -> None:
    name = bring(1, (NEW,), archs=(Arch.ARM,))
    with database.write() as session:
        session.add(Cluster(site_id=site, arch=seen))
    if is_refused:
        assert refusal(database, site, name).code == "E-B050"
    else:
        ask_for(database, site, name)
        with database.read() as session:
            assert stages.arch_of(session, site) is Arch.ARM


def test_a_bundle_that_has_expired_is_staged_only_if_an_administrator_accepted_it(
    database: Database, site: int, bring: Callable[..., BundleName]
) -> None:
    name = bring(1, (OLD,))
    with database.write() as session:
        bundles.get(session, name).expires_at = utc_now()
    assert isinstance(fault := refusal(database, site, name), BundleError)
    assert fault.code == "E-B030"
    with database.write() as session:
        bundles.get(session, name).accepted_reason = "ship it"
    ask_for(database, site, name)
    assert refusal(database, site, replace(name, number=7)).code == "E-BUNDLE-UNKNOWN"


def test_a_bundle_is_not_removed_while_it_is_being_staged(
    database: Database, settings: Settings, site: int, bring: Callable[..., BundleName]
) -> None:
    name = bring(1, (OLD,))
    ask_for(database, site, name)
    with pytest.raises(ConflictError) as caught:
        remove_bundle(database, settings, name, actor="anna")
    assert caught.value.code == "E-BUNDLE-IN-USE"
    assert "being staged on store-1" in caught.value.message


def test_a_bundle_whose_content_cannot_be_read_is_told_before_anything_is_asked(
    database: Database, settings: Settings, site: int, bring: Callable[..., BundleName]
) -> None:
    name = bring(1, (OLD,))
    for path in (settings.release_dir / "sha256").iterdir():
        path.unlink()
    with pytest.raises(BundleError) as caught:
        forecast(database, settings, name, [site])
    assert caught.value.code == "E-BUNDLE-FILE"
    assert f"the content of bundle {name} cannot be read" in caught.value.message


def test_forecast_and_status_tell_bytes_and_eta_from_the_sites_history(
    database: Database, settings: Settings, site: int, bring: Callable[..., BundleName]
) -> None:
    name = bring(1, (OLD,))
    whole = set_of(database, settings, name).total_bytes
    (unknown,) = forecast(database, settings, name, [site])
    assert (unknown.most_bytes, unknown.eta_s) == (whole, None)
    with database.write() as session:
        row = Transfer(site_id=site, bundle=str(name), total_bytes=whole, held_bytes=1000, sent_bytes=whole - 3000)
        row.log_mean, row.log_variance = 6.907755, 0.01  # 1000 bytes a second
        session.add(row)
    ask_for(database, site, name)
    (told,) = forecast(database, settings, name, [site])
    with database.read() as session:
        (item,) = stage_items(session, [site])
    assert told.eta_s == pytest.approx(whole / 1000, rel=0.01)
    assert item.done_bytes == whole - 2000
    assert item.eta_s == pytest.approx(2.0, rel=0.01)
    assert item.soon_s is not None
    assert item.late_s is not None
    assert item.soon_s < item.eta_s < item.late_s
    assert (item.state, item.bundle) == ("queued", str(name))
