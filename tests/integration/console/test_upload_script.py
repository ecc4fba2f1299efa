"""The page's own script, run by node against a real console over a link that breaks."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests_support.appliance import Appliance, until
from tests_support.bundle_shop import BundleShop

from edgemgr.bundles.split import split

ROOT = Path(__file__).parents[3]
NODE = shutil.which("node")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(NODE is None, reason="node is not installed")]


@pytest.fixture
def appliance(tmp_path: Path) -> Iterator[Appliance]:
    (tmp_path / "appliance").mkdir()
    appliance = Appliance(tmp_path / "appliance", tmp_path / "lab")
    yield appliance
    appliance.close()


def upload(appliance: Appliance, files: list[Path], break_every: int = 0) -> dict:
    script = ROOT / "tests/tests_support/upload_script.js"
    page_script = ROOT / "edgemgr/web/static/upload.js"
    base = f"http://127.0.0.1:{appliance.port}"
    done = subprocess.run(
        [NODE or "", str(script), str(page_script), base, str(break_every), *map(str, files)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_bundle_in_parts_arrives_over_a_link_that_breaks(appliance: Appliance, tmp_path: Path) -> None:
    shop = BundleShop.open(tmp_path / "shop")
    shop.trusted_in(appliance.directory / "state" / "trust")
    path = shop.bundle(more=[shop.large(45 << 20)])
    parts = split(path, 20 << 20)
    path.unlink()
    appliance.serve()
    said = upload(appliance, [*reversed(parts)], break_every=2)
    assert said["broken"] >= 3
    assert "All of it is sent" in said["note"]
    (item,) = until("it is imported", lambda: appliance.items("bundle", "list"), 60)
    until("it is whole", lambda: appliance.items("bundle", "list")[0]["state"] == "imported", 60)
    assert item["name"] == "retail/stable/1"


def test_a_file_that_is_too_large_is_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "appliance").mkdir()
    appliance = Appliance(tmp_path / "appliance", tmp_path / "lab", EDGEMGR_BUNDLE_MAX_MIB="1")
    large = tmp_path / "large.emb"
    large.write_bytes(bytes(2 << 20))
    try:
        appliance.serve()
        said = upload(appliance, [large])
    finally:
        appliance.close()
    assert "E-B060" in said["note"]
