"""`edgemgr upgrade` over a bundle that was really taken in: asked for, and planned anew when it is claimed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlmodel import col, select
from tests_support.upgrade_fleet import NAME, operation, run

from edgemgr.app import open_app
from edgemgr.errors import ConflictError, EdgemgrError
from edgemgr.inventory.bundle_remove import preview_removal, remove_bundle
from edgemgr.inventory.content_store import ContentStore
from edgemgr.lab.k3s_standin.node.images import read_archive
from edgemgr.model.operation import Operation, Priority
from edgemgr.model.release_file import ReleaseFile
from edgemgr.model.site import Site
from edgemgr.model.timestamp import utc_now
from edgemgr.operations.upgrade import Upgrade, UpgradeParams
from edgemgr.settings import Settings
from edgemgr.store import operations
from edgemgr.store.bundles import image_names


def asked(settings: Settings) -> list[Operation]:
    with open_app(settings) as made, made.database.read() as session:
        return list(session.exec(select(Operation).where(Operation.kind == "upgrade").order_by(col(Operation.id))))


def stage_at(settings: Settings, *names: str) -> None:
    """Let the bundle lie at these sites."""
    with open_app(settings) as made, made.database.write() as session:
        for site in session.exec(select(Site).where(col(Site.name).in_(names))).all():
            session.add(operation(site.id or 0, "stage", "succeeded", {"bundle": str(NAME)}))


def test_an_upgrade_is_asked_for_and_the_version_is_wanted_from_then_on(few: Settings) -> None:
    done = run(str(NAME), "store-0005", "--version", "v1.34.6+k3s1", "--soak", "1m")
    assert done.exit_code == 0, done.output
    (found,) = asked(few)
    assert (found.params["bundle"], found.params["version"]) == (str(NAME), "v1.34.6+k3s1")
    assert (found.params["soak_s"], found.params["k3s_config"], found.priority) == (60, None, Priority.INTERACTIVE)
    with open_app(few) as made, made.database.read() as session:
        assert session.exec(select(Site.k3s_version).where(Site.name == "store-0005")).one() == "v1.34.6+k3s1"


def test_the_hops_are_planned_when_it_is_claimed_with_the_files_of_the_site_s_architecture(few: Settings) -> None:
    spec = Upgrade()
    params = UpgradeParams(bundle=str(NAME), version="v1.35.2+k3s1")
    with open_app(few) as made, made.database.read() as session:
        site = session.exec(select(Site).where(Site.name == "store-0005")).one()
        told = spec.variables(session, params, site, few)
        known = {file.digest for file in session.exec(select(ReleaseFile))}
    assert [(hop["from_version"], hop["to_version"]) for hop in told["edge_hops"]] == [  # type: ignore[attr-defined]
        ("v1.33.5+k3s1", "v1.34.6+k3s1"),
        ("v1.34.6+k3s1", "v1.35.2+k3s1"),
    ]
    for hop in told["edge_hops"]:  # type: ignore[attr-defined]
        assert sorted(each["part"] for each in hop["artifacts"]) == ["binary", "images"]
        assert {each["digest"] for each in hop["artifacts"]} <= known
        tag = hop["to_version"].replace("+", "-")
        assert hop["images"] == [f"docker.io/rancher/coredns:{tag}", f"docker.io/rancher/pause:{tag}"]
    assert told["edge_refusal"] == {}


def test_without_a_way_the_node_is_told_why_as_it_may_have_begun_already(few: Settings) -> None:
    params = UpgradeParams(bundle="retail/stable/99", version="v1.35.2+k3s1")
    with open_app(few) as made, made.database.read() as session:
        site = session.exec(select(Site).where(Site.name == "store-0005")).one()
        told = Upgrade().variables(session, params, site, few)
    assert told["edge_hops"] == []
    assert told["edge_refusal"]["code"] == "E-BUNDLE-UNKNOWN"  # type: ignore[index]


def test_a_change_of_the_configuration_alone_is_one_hop_without_files(few: Settings) -> None:
    params = UpgradeParams(bundle=str(NAME), version="v1.36.0+k3s1", k3s_config={"debug": True})
    with open_app(few) as made, made.database.read() as session:
        site = session.exec(select(Site).where(Site.name == "store-0001")).one()
        (hop,) = Upgrade().variables(session, params, site, few)["edge_hops"]  # type: ignore[misc]
    assert hop == {
        "from_version": "v1.36.0+k3s1",
        "to_version": "v1.36.0+k3s1",
        "config": {"debug": True},
        "images": [],
        "artifacts": [],
    }


def test_the_images_of_a_hop_have_the_names_that_k3s_gives_them_when_it_takes_the_archive(
    few: Settings, tmp_path: Path
) -> None:
    params = UpgradeParams(bundle=str(NAME), version="v1.34.6+k3s1")
    with open_app(few) as made, made.database.read() as session:
        site = session.exec(select(Site).where(Site.name == "store-0005")).one()
        (hop,) = Upgrade().variables(session, params, site, few)["edge_hops"]  # type: ignore[misc]
    (images,) = [each for each in hop["artifacts"] if each["part"] == "images"]
    archive = tmp_path / "images.tar"
    archive.write_bytes(ContentStore(few.release_dir).path(images["digest"]).read_bytes())
    assert sorted(read_archive(archive)) == hop["images"]


def test_of_an_archive_that_another_way_brought_nothing_is_known(few: Settings) -> None:
    with open_app(few) as made, made.database.read() as session:
        assert image_names(session, "0" * 64) == []


def test_a_configuration_that_does_not_fit_the_version_that_stays_is_refused(few: Settings, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("kubelet-arg: [pod-infra-container-image=pause:3]\n")
    done = run(str(NAME), "store-0001", "--config", str(file))
    assert isinstance(done.exception, EdgemgrError)
    assert (done.exception.code, asked(few)) == ("E-K3S-OPTION", [])
    both = run(str(NAME), "store-0001", "store-0005", "--config", str(file), "--skip-blocked")
    assert isinstance(both.exception, EdgemgrError)
    assert both.exception.code == "E-OP-NO-SITE"
    file.write_text("debug: true\n")
    assert run(str(NAME), "store-0001", "store-0003", "--config", str(file), "--skip-blocked").exit_code == 0
    (found,) = asked(few)
    assert found.params["k3s_config"] == {"debug": True}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("store-0000",), "E-UPGRADE-UNSTAGED", "does not lie at store-0000 yet"),
        (("store-0005", "store-0003"), "E-PRE-DISK", "store-0003 cannot be upgraded: 1.0 GiB were free"),
        (("--all",), "E-B050", "store-0002 cannot be upgraded"),
    ],
)
def test_one_site_that_cannot_be_upgraded_stops_all_before_anything_moves(
    few: Settings, words: tuple[str, ...], code: str, said: str
) -> None:
    done = run(str(NAME), *words)
    assert isinstance(done.exception, EdgemgrError)
    assert (done.exception.code, done.exception.exit_status) == (code, 5)
    assert said in done.exception.message
    assert asked(few) == []


def test_the_others_go_on_where_that_is_asked(few: Settings) -> None:
    stage_at(few, *(f"store-{number:04}" for number in range(10)))
    done = run(str(NAME), "--all", "--skip-blocked")
    assert done.exit_code == 0, done.output
    assert "left out: store-0003: 1.0 GiB were free" in done.stderr
    assert len(asked(few)) == 8


def test_a_dry_run_asks_for_nothing(few: Settings) -> None:
    done = run(str(NAME), "store-0005", "--dry-run", "-o", "json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["sites"] == ["store-0005"]
    assert asked(few) == []


@pytest.mark.parametrize(
    ("text", "code"),
    [("- name: x\n", "E-OP-PARAMS"), ("name: x\n", "E-OP-CONFIG"), ("- name: x\n  url: ftp://till\n", "E-OP-PARAMS")],
)
def test_checks_of_one_s_own_have_to_be_checks(few: Settings, tmp_path: Path, text: str, code: str) -> None:
    file = tmp_path / "checks.yaml"
    file.write_text(text)
    done = run(str(NAME), "store-0005", "--site-checks", str(file))
    assert isinstance(done.exception, EdgemgrError)
    assert done.exception.code == code


def test_checks_of_one_s_own_travel_with_it(few: Settings, tmp_path: Path) -> None:
    file = tmp_path / "checks.yaml"
    file.write_text("- name: till\n  url: http://127.0.0.1:8080/ready\n- name: disk\n  command: [test, -w, /srv]\n")
    assert run(str(NAME), "store-0005", "--site-checks", str(file)).exit_code == 0
    (found,) = asked(few)
    assert [each["name"] for each in found.params["site_checks"]] == ["till", "disk"]


def test_the_bundle_stays_until_the_upgrade_out_of_it_has_ended(few: Settings) -> None:
    assert run(str(NAME), "store-0005").exit_code == 0
    with open_app(few) as made:
        (use,) = [use for use in preview_removal(made.database, NAME).uses if "upgrade" in use]
        with pytest.raises(ConflictError) as caught:
            remove_bundle(made.database, few, NAME, actor="anna")
    assert use == "an upgrade out of it has not ended on store-0005"
    assert (caught.value.code, use in caught.value.message) == ("E-BUNDLE-IN-USE", True)
    with open_app(few) as made:
        with made.database.write() as session:
            operations.cancel(session, [each.id or 0 for each in asked(few)], actor="anna", now=utc_now())
        assert [use for use in preview_removal(made.database, NAME).uses if "upgrade" in use] == []
