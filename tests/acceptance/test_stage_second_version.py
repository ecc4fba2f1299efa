"""What a site has never travels again: not what its bootstrap has brought, nor the layers that a new version keeps.

The bytes are counted where they pass: by the kernel, on the interface at the appliance's end of the site's link.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from acceptance_stories import VERSION, import_sites
from bundle_stories import Link, Vendor
from testinfra.host import Host
from tests_support.appliance import Appliance
from tests_support.image_archives import Picture, docker_files, layer_bytes, tar

from edgemgr.lab.lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.slow]

MIB = 1 << 20
LAYERS, REPLACED = 40, 4
#: What SSH, TCP and the questions to the node may add: a tenth, and some rounds that carry a program each.
EXTRA = 1.1
ROUNDS_BYTES = 1 * MIB
STORE = "/var/lib/edgemgr/cache/sha256"
RUNNING = "/var/lib/rancher/k3s/agent/images"


@pytest.fixture
def appliance_alone(tmp_path: Path, lab: Lab):
    appliance = Appliance(tmp_path / "appliance", lab.directory)
    try:
        yield appliance
    finally:
        appliance.close()


def till(directory: Path, number: int, seeds: list[str]) -> Path:
    """The images of an application, as `docker save` writes them; a layer of 1 MiB for each seed."""
    layers = tuple(layer_bytes(seed, MIB) for seed in seeds)
    file = directory / f"till-{number}.tar"
    file.write_bytes(tar(docker_files([Picture((f"example.com/till:{number}",), layers)])))
    return file


def booked(appliance: Appliance) -> tuple[int, int]:
    """What the appliance's own books say of the latest transfer: the size of the set, and the bytes sent."""
    with closing(sqlite3.connect(appliance.directory / "state/edgemgr.db")) as database:
        total, sent = database.execute("SELECT total_bytes, sent_bytes FROM transfer").fetchone()
    return int(total), int(sent)


def stage(appliance: Appliance, bundle: str) -> tuple[int, int]:
    """Stage it in one attempt; what the books say of it."""
    appliance.run("stage", bundle, "site-1", "--wait", "--timeout", "5m", timeout_s=400)
    number = appliance.operation("site-1")["id"]
    (attempt,) = json.loads(appliance.run("operation", "show", str(number), "-o", "json"))["attempts"]
    assert attempt["outcome"] == "succeeded"
    return booked(appliance)


def test_neither_what_bootstrap_has_brought_nor_what_a_second_version_keeps_travels_again(
    lab: Lab, appliance_alone: Appliance, look: Callable[[str], Host], tmp_path: Path
) -> None:
    appliance = appliance_alone
    lab.up(1)
    import_sites(appliance, lab)
    vendor = Vendor(appliance, tmp_path / "vendor", images_mib=4)
    seeds = [f"layer-{number}" for number in range(LAYERS)]
    changed = seeds[:-REPLACED] + [f"{seed}-new" for seed in seeds[-REPLACED:]]
    first = vendor.bring(1, images=[{"archive": str(till(vendor.directory, 1, seeds)), "arch": "amd64"}])
    second = vendor.bring(2, images=[{"archive": str(till(vendor.directory, 2, changed)), "arch": "amd64"}])
    appliance.serve()
    appliance.run("bootstrap", "site-1", "--version", VERSION, "--wait", "--timeout", "5m", timeout_s=400)
    running = look("site-1").check_output(f"sha256sum {RUNNING}/edgemgr-*").split()[0]

    link = Link(lab, "site-1")
    total, sent = stage(appliance, first)
    assert LAYERS * MIB < sent < total - 4 * MIB, "the program and the images of k3s were there"
    assert sent < link.since() < sent * EXTRA + ROUNDS_BYTES

    total, sent = stage(appliance, second)
    passed = link.since()
    assert REPLACED * MIB < sent < passed < sent * EXTRA + ROUNDS_BYTES, "the books and the cable agree"
    assert passed < 0.15 * total

    stage(appliance, second)
    assert link.since() < ROUNDS_BYTES, "nothing at all"

    held = look("site-1").file(STORE).listdir()
    assert len(held) == 4, "the program, its images, and those of both versions: no loose layers"
    assert running in held
    assert look("site-1").check_output(f"sha256sum {RUNNING}/edgemgr-*").split()[0] == running
    number = look("site-1").check_output("k3s kubectl get nodes -o name").count("node/")
    assert (number, appliance.site("site-1")["health"]) == (1, "healthy")
