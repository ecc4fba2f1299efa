"""What a stage sends to a node, and where it goes on after it was stopped."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from tests_support.bundle_shop import NEW, OLD, BundleShop
from tests_support.stage_node import StageNode, ask_for, needs_root, progress, set_of

from edgemgr.errors import SiteUnreachableError
from edgemgr.links.sftp_writer import WRITE_BYTES
from edgemgr.model.attempt import AttemptResult, Outcome
from edgemgr.model.bundle_name import BundleName
from edgemgr.model.release import Arch
from edgemgr.model.site import Site
from edgemgr.model.target import Target
from edgemgr.model.timestamp import utc_now
from edgemgr.queue import staging, work
from edgemgr.settings import Settings
from edgemgr.store import releases
from edgemgr.store.claim import claim
from edgemgr.store.database import Database
from edgemgr.vault.vault import Vault

pytestmark = needs_root


def test_what_bootstrap_takes_lies_on_the_node_afterwards_and_layers_not_a_second_time(
    database: Database, settings: Settings, bring: Callable[..., BundleName], node: StageNode, site: int
) -> None:
    name = bring(1, (OLD, NEW))
    result = node.stage(name)
    assert result.outcome is Outcome.SUCCEEDED, result
    with database.read() as session:
        wanted = {
            file.digest: file.size_bytes for version in (OLD, NEW) for file in releases.files_of(session, version)
        }
    assert {digest: path.stat().st_size for digest, path in node.files.items()} == wanted
    for digest, path in node.files.items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    row, whole = progress(database, site), set_of(database, settings, name)
    assert (row.total_bytes, row.held_bytes, row.sent_bytes) == (whole.total_bytes, 0, whole.total_bytes)
    assert row.total_bytes < sum(wanted.values()), "the layer that the versions share travelled once"
    assert row.throughput is not None
    again = node.stage(name)
    assert again.outcome is Outcome.SUCCEEDED
    row = progress(database, site)
    assert (row.held_bytes, row.sent_bytes) == (whole.total_bytes, 0)


def test_it_gives_way_in_the_middle_of_a_chunk_and_goes_on_from_there(
    database: Database, bring: Callable[..., BundleName], shop: BundleShop, node: StageNode, site: int
) -> None:
    name = bring(1, (OLD,), more=[shop.large(12 << 20)])
    answers = iter([False] * 30)
    result = node.stage(name, gives_way=lambda: next(answers, True))
    assert (result.outcome, result.code) == (Outcome.LOST, "E-OP-GAVE-WAY")
    before = progress(database, site)
    assert 0 < before.sent_bytes < before.total_bytes
    assert node.stage(name).outcome is Outcome.SUCCEEDED
    after = progress(database, site)
    assert 0 <= before.sent_bytes - after.held_bytes <= WRITE_BYTES, "what had come of the block that was begun"
    assert after.remaining_bytes == 0


def test_after_a_cut_that_brought_something_it_goes_on_at_once_in_the_same_attempt(
    database: Database, bring: Callable[..., BundleName], shop: BundleShop, node: StageNode, site: int
) -> None:
    name = bring(1, (OLD,), more=[shop.large(12 << 20)])
    asked = itertools.count()

    def cut_once() -> bool:
        if next(asked) == 100:
            node.sshd.cut()
        return False

    assert node.stage(name, is_canceled=cut_once).outcome is Outcome.SUCCEEDED
    row = progress(database, site)
    assert 0 < row.held_bytes < row.total_bytes, "the last connection found something there, and brought the rest"
    assert row.remaining_bytes == 0


def test_a_site_that_does_not_answer_after_a_cut_is_left_to_the_watch_and_counts_as_one_that_gets_on(
    bring: Callable[..., BundleName],
    shop: BundleShop,
    node: StageNode,
    *,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = bring(1, (OLD,), more=[shop.large(12 << 20)])
    asked = itertools.count()

    def cut_for_good() -> bool:
        if next(asked) == 100:
            monkeypatch.setattr(staging, "connect", away)
            node.sshd.cut()
        return False

    def away(target: Target, **_: object) -> NoReturn:
        raise SiteUnreachableError(f"{target.name} does not answer", hint="Nothing to do.")

    result = node.stage(name, is_canceled=cut_for_good)
    assert (result.outcome, result.advanced) == (Outcome.UNREACHABLE, True)


def test_a_canceled_stage_ends_and_what_came_stays(
    database: Database, bring: Callable[..., BundleName], shop: BundleShop, node: StageNode, site: int
) -> None:
    name = bring(1, (OLD,), more=[shop.large(12 << 20)])
    asked = iter(range(10_000))
    result = node.stage(name, is_canceled=lambda: next(asked) > 200)
    assert result.outcome is Outcome.CANCELED
    before = progress(database, site)
    assert node.stage(name).outcome is Outcome.SUCCEEDED
    assert before.sent_bytes - progress(database, site).held_bytes <= 256 * 1024


def test_an_archive_that_was_damaged_on_the_node_is_not_built_upon(
    database: Database, settings: Settings, bring: Callable[..., BundleName], node: StageNode
) -> None:
    first, second = bring(1, (OLD,)), bring(2, (NEW,))
    assert node.stage(first).outcome is Outcome.SUCCEEDED
    (archive,) = [node.files[recipe.digest] for recipe in set_of(database, settings, first).archives]
    content = bytearray(archive.read_bytes())
    shared = next(
        part for part in set_of(database, settings, second).layers.values() if part.size_bytes > 40_000
    ).path.read_bytes()
    content[content.index(shared) + 1000] ^= 1
    archive.write_bytes(bytes(content))
    failed = node.stage(second)
    assert (failed.outcome, failed.code) == (Outcome.FAILED, "E-ARTIFACT-HASH")
    assert archive.name not in node.files
    assert node.stage(second).outcome is Outcome.SUCCEEDED
    for digest, path in node.files.items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == digest


def test_a_node_of_another_architecture_than_the_bundle_holds_is_refused_before_anything_is_sent(
    bring: Callable[..., BundleName], node: StageNode
) -> None:
    result = node.stage(bring(1, (OLD,), archs=(Arch.ARM64,)))
    assert (result.outcome, result.code) == (Outcome.REFUSED, "E-B050")
    assert "store-1" in result.message
    assert not Path(node.place.cache).exists() or not node.files


def test_a_claimed_stage_is_carried_over_the_way_that_every_operation_takes(
    database: Database,
    settings: Settings,
    bring: Callable[..., BundleName],
    node: StageNode,
    site: int,
    *,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(work, "open_target", lambda *_: node.target)
    with database.write() as session:
        session.get_one(Site, site).port = node.target.port
    name = bring(1, (OLD,))
    ask_for(database, site, name)
    with database.write() as session:
        claimed = claim(
            session, worker_id="w", zones=(), batch="t", limit=5, max_running=5, transfers=True, now=utc_now()
        )
    settled: dict[int, AttemptResult] = {}
    carrier = work.Carrier(
        database, Vault(bytes(32)), settings, claimed, settle=settled.__setitem__, is_canceled=lambda _: False
    )
    carrier.carry("t-0")
    assert [result.outcome for result in settled.values()] == [Outcome.SUCCEEDED]
    assert set(node.files) == set_of(database, settings, name).digests
    assert claimed[0].operation.max_lost > 100, "in weeks of sending a worker may be lost often"
