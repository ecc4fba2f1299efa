"""What a node keeps of the bundles that were staged on it, one after the other."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from tests_support.bundle_shop import NEW, OLD
from tests_support.stage_node import StageNode, needs_root, progress, set_of

from edgemgr.model.attempt import Outcome
from edgemgr.model.bundle_name import BundleName
from edgemgr.model.cluster import Cluster
from edgemgr.settings import Settings
from edgemgr.store.database import Database

pytestmark = needs_root
LATER = "v1.35.1+k3s1"


def test_of_a_second_bundle_only_what_is_new_travels_and_the_set_before_is_kept(
    database: Database, settings: Settings, bring: Callable[..., BundleName], node: StageNode, site: int
) -> None:
    first, second, third = bring(1, (OLD,)), bring(2, (NEW,)), bring(3, (LATER,))
    sets = [set_of(database, settings, name) for name in (first, second, third)]
    shared = sum(size for digest, size in sets[1].sizes.items() if digest in sets[0].sizes)
    assert shared > 40_000
    assert node.stage(first).outcome is Outcome.SUCCEEDED
    assert node.stage(second).outcome is Outcome.SUCCEEDED
    row = progress(database, site)
    assert row.sent_bytes == sets[1].total_bytes - shared
    assert set(node.files) == sets[0].digests | sets[1].digests
    assert node.stage(third).outcome is Outcome.SUCCEEDED
    assert set(node.files) == sets[1].digests | sets[2].digests
    record = json.loads((Path(node.place.cache).parent / "staged.json").read_text())
    assert [each["bundle"] for each in record["sets"]] == [str(third), str(second)]


def test_what_a_site_runs_is_kept_however_many_bundles_come(
    database: Database, settings: Settings, bring: Callable[..., BundleName], node: StageNode, site: int
) -> None:
    names = [bring(number, (version,)) for number, version in enumerate((OLD, NEW, LATER), 1)]
    with database.write() as session:
        session.add(Cluster(site_id=site, k3s_version=OLD))
    for name in names:
        assert node.stage(name).outcome is Outcome.SUCCEEDED
    assert set(node.files) == frozenset().union(*(set_of(database, settings, name).digests for name in names))


def test_a_file_that_is_in_place_outlives_every_set(
    database: Database, settings: Settings, bring: Callable[..., BundleName], node: StageNode, tmp_path: Path
) -> None:
    names = [bring(number, (version,)) for number, version in enumerate((OLD, NEW, LATER), 1)]
    assert node.stage(names[0]).outcome is Outcome.SUCCEEDED
    (running,) = [blob.digest for blob in set_of(database, settings, names[0]).files]
    os.link(node.files[running], tmp_path / "k3s")
    for name in names[1:]:
        assert node.stage(name).outcome is Outcome.SUCCEEDED
    first = set_of(database, settings, names[0]).digests
    assert first & set(node.files) == {running}, "its images were not in place"
