"""A stage and a bootstrap share what each of them has brought: nothing travels twice."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests_support.bundle_shop import NEW, OLD, BundleShop
from tests_support.stage_node import StageNode, ask_for, needs_root, progress, set_of

from edgemgr.links.sftp_writer import WRITE_BYTES
from edgemgr.links.transfer import Sent, send_blobs
from edgemgr.model.attempt import AttemptResult, Outcome
from edgemgr.model.bundle_name import BundleName
from edgemgr.queue import staging_ahead
from edgemgr.queue.errand import Errand
from edgemgr.queue.staging_ahead import begun, bring_rest
from edgemgr.settings import Settings
from edgemgr.store import releases
from edgemgr.store.database import Database

pytestmark = needs_root


def bring_the_rest(errand: Errand, *, within_s: float) -> AttemptResult | None:
    rest = begun(errand)
    return None if rest is None else bring_rest(errand, rest, within_s=within_s)


def test_what_a_bootstrap_had_begun_to_bring_does_not_travel_again(
    database: Database, settings: Settings, bring: Callable[..., BundleName], node: StageNode, site: int
) -> None:
    name = bring(1, (OLD,))
    whole = set_of(database, settings, name)
    with database.read() as session:
        files = {file.part: file.digest for file in releases.files_of(session, OLD)}
    cache = Path(node.place.cache)
    cache.mkdir(parents=True)
    archive = (settings.release_dir / "sha256" / files["images"]).read_bytes()
    part = cache / f"{files['images']}.part"
    part.write_bytes(archive[: len(archive) - 3000])
    assert node.stage(name).outcome is Outcome.SUCCEEDED
    row = progress(database, site)
    assert (row.held_bytes + row.sent_bytes, row.remaining_bytes) == (whole.total_bytes, 0)
    assert row.held_bytes > 40_000, "the large layer lay within what had come"
    assert set(node.files) == whole.digests
    assert not list(Path(node.place.incoming).rglob("*.part")), "the rest of the bootstrap's file takes no room"


def test_what_a_stage_had_begun_to_bring_is_finished_by_the_same_road_before_a_bootstrap(
    database: Database,
    settings: Settings,
    bring: Callable[..., BundleName],
    shop: BundleShop,
    node: StageNode,
    *,
    site: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    travelled: list[Sent] = []
    monkeypatch.setattr(
        staging_ahead, "send_blobs", lambda *told, **more: travelled.append(send_blobs(*told, **more)) or travelled[-1]
    )
    assert bring_the_rest(node.errand("bootstrap", {"version": OLD}), within_s=60) is None, "nothing was begun"
    name = bring(1, (OLD, NEW), more=[shop.large(4 << 20)])
    ask_for(database, site, name)
    asked = iter([False] * 4)  # the attempt itself, and the first blobs of those that are in the order of the set
    assert node.stage(name, gives_way=lambda: next(asked, True)).code == "E-OP-GAVE-WAY"
    before = progress(database, site).sent_bytes
    assert 0 < before < progress(database, site).total_bytes
    with database.read() as session:
        wanted = {file.digest: file.size_bytes for file in releases.files_of(session, OLD)}
    assert not wanted.keys() <= node.files.keys()
    assert travelled == []
    assert bring_the_rest(node.errand("bootstrap", {"version": OLD}), within_s=60) is None
    assert wanted.keys() <= node.files.keys()
    (sent,) = travelled
    assert 0 < sent.sent_bytes < sum(wanted.values()), "neither the other version nor the chart"
    assert node.stage(name).outcome is Outcome.SUCCEEDED
    whole = set_of(database, settings, name)
    again = progress(database, site)
    assert before + sent.sent_bytes + again.sent_bytes <= whole.total_bytes + WRITE_BYTES, "nothing travelled twice"
    assert set(node.files) == whole.digests


def test_a_bootstrap_whose_files_come_too_slowly_is_timed_out_and_one_that_is_canceled_ends(
    database: Database, bring: Callable[..., BundleName], node: StageNode, site: int
) -> None:
    name = bring(1, (OLD,))
    ask_for(database, site, name)
    answers = iter([False] * 3)
    node.stage(name, gives_way=lambda: next(answers, True))
    slow = bring_the_rest(node.errand("bootstrap", {"version": OLD}), within_s=0)
    assert slow is not None
    assert (slow.outcome, slow.code) == (Outcome.TIMED_OUT, "E-RUNNER-TIMEOUT")
    canceled = bring_the_rest(node.errand("bootstrap", {"version": OLD}, is_canceled=lambda: True), within_s=60)
    assert canceled is not None
    assert canceled.outcome is Outcome.CANCELED
    assert bring_the_rest(node.errand("bootstrap", {"version": NEW}), within_s=60) is None, "not of this bundle"


def test_what_a_bootstrap_has_brought_is_all_there_is_to_a_stage(
    database: Database, settings: Settings, bring: Callable[..., BundleName], node: StageNode, site: int
) -> None:
    name = bring(1, (OLD,))
    cache = Path(node.place.cache)
    cache.mkdir(parents=True)
    with database.read() as session:
        digests = [file.digest for file in releases.files_of(session, OLD)]
    for digest in digests:
        shutil.copyfile(settings.release_dir / "sha256" / digest, cache / digest)
    before = {name: path.stat().st_ino for name, path in node.files.items()}
    assert node.stage(name).outcome is Outcome.SUCCEEDED
    row = progress(database, site)
    assert (row.sent_bytes, row.held_bytes, row.remaining_bytes) == (0, row.total_bytes, 0)
    assert {name: path.stat().st_ino for name, path in node.files.items()} == before
