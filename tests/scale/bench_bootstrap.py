"""What a bootstrap of many sites costs the appliance, beside what a user could do without it.

Light sites of the lab on this machine. First real nodes: edgemgr as installed, then ansible-runner as it comes. Then
nodes that are faked, so that only the controller's side is measured.
"""

from __future__ import annotations

import resource
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bootstrap_meter import Meter
from bootstrap_stock import StockWays
from consumption import Account
from faked_nodes import fake, small_files
from progress import say
from tests_support.appliance import Appliance

from edgemgr.lab.lab import Lab
from edgemgr.lab.offered_release import offer_release
from edgemgr.settings import load_settings

LAB = Path("/var/lib/edgemgr-lab-bench")
SUBNET = "10.230.0.0/16"
CACHE, KEPT = "/var/lib/edgemgr/cache", "/var/lib/edgemgr-bench-cache"
REAL_SITES, REAL_EACH, REAL_BATCH = 200, 12, 24
FAKED_SITES, FAKED_EACH, FAKED_BATCH = 200, 24, 50


def measure(*, quick: bool) -> dict[str, Any]:
    """Both kinds of nodes; a trial has only faked ones."""
    settings = load_settings()
    found: dict[str, Any] = {"batch_size": settings.batch_size, "forks": settings.forks, "real": []}
    if not quick:
        found |= _real()
    counts = (16, 4, 4) if quick else (FAKED_SITES, FAKED_EACH, FAKED_BATCH)
    return {**found, "faked": _faked(*counts)}


def _real() -> dict[str, Any]:
    with _bench(REAL_SITES) as (meter, directory, stack):
        found = {"import": _import(meter)}
        pid = meter.serve()
        meter.bootstrap("first", pid, REAL_SITES)
        meter.bootstrap("again", pid, REAL_SITES)
        meter.on_every_site(f"cp -a {CACHE} {KEPT}")
        meter.reset()
        meter.on_every_site(f"mkdir -p {CACHE.rpartition('/')[0]}; mv {KEPT} {CACHE}")
        meter.bootstrap("staged", pid, REAL_SITES)
        meter.reset()
        meter.appliance.close()
        stock = StockWays(meter, directory, stack)
        stock.runner_each(REAL_EACH)
        stock.small_each(REAL_EACH)
        stock.small_tuned(REAL_BATCH)
        files = meter.lab.release_directory.glob("k3s*")
        found["release_bytes"] = sum(file.stat().st_size for file in files if file.suffix != ".txt")
        return {**found, "real": [asdict(way) for way in meter.ways]}


def _faked(count: int, each: int, batch: int) -> list[dict[str, Any]]:
    with _bench(count) as (meter, directory, stack):
        _import(meter)
        fake(meter.lab, meter.lab.list())
        meter.bootstrap("first", meter.serve(), count)
        meter.appliance.close()
        meter.bootstrap("again", meter.serve(), count)
        meter.appliance.close()
        meter.appliance.environment["EDGEMGR_SSH_FAST_KEX"] = "true"
        meter.bootstrap("fast", meter.serve(), count)
        meter.appliance.close()
        files = small_files(directory / "small")
        stock = StockWays(meter, directory, stack)
        stock.small_each(each, files)
        stock.small_tuned(batch, files)
        return [asdict(way) for way in meter.ways]


@contextmanager
def _bench(count: int) -> Iterator[tuple[Meter, Path, ExitStack]]:
    """So many light sites, and an appliance that knows the release."""
    settings = load_settings()
    lab = Lab(LAB, subnet=SUBNET, base=settings.lab_dir / "base", progress=lambda _: None)
    directory = Path(tempfile.mkdtemp(prefix="edgemgr-bench-"))
    appliance = Appliance(directory, LAB, EDGEMGR_LEASE_S=str(settings.lease_s))
    with ExitStack() as stack:
        lab.down(purge=True)  # what a run left that was killed
        sites, controller = (Account(f"edgemgr-bench-{name}") for name in ("sites", "controller"))
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        stack.callback(sites.close)
        stack.callback(lab.down, purge=True)
        stack.callback(controller.close)
        stack.callback(appliance.close)
        say(f"booting {count} light sites")
        with sites.inside():
            lab.up(count, light=True)
        offer_release(lab.release_directory)
        appliance.run("release", "add", str(lab.release_directory))
        yield Meter(lab, appliance, sites, controller), directory, stack


def _import(meter: Meter) -> dict[str, float]:
    """Read the CSV of all sites."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    meter.appliance.run("site", "import", str(meter.lab.csv_path))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"cpu_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime}
