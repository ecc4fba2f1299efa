"""A stage over a bad link, cut twenty times, and its worker killed once; beside scp, rsync and Ansible's copy.

Every way has a lab site of its own, with a link of its own; all links are equal, and cut at the same moments. First
scp alone for a while, on links that are not cut.
"""

from __future__ import annotations

import hashlib
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import stage_peers
from fleet_links import LinkQuality
from progress import say
from stage_bundle import BUNDLE, bring_bundle
from stage_cuts import Cut, Cutter, draw_moments
from stage_link import StageLink
from stage_tcp import TcpLedger
from stage_way import WAYS, Watcher, Way, staged_bytes
from stock_ansible import StockAnsible
from tests_support.appliance import Appliance

from edgemgr.lab.lab import Lab
from edgemgr.lab.simulated_site import SimulatedSite
from edgemgr.settings import Settings, load_settings
from edgemgr.store.database import Database
from edgemgr.store.stage_item import StageItem, stage_items

LAB = Path("/var/lib/edgemgr-lab-stage")
SUBNET = "10.232.0.0/24"
QUALITY = LinkQuality(delay_ms=50.0, loss_percent=1.0, rate_mbit=20.0)
SEED = 20
LIMIT_S = 1800.0
POINTS = 200  #: of a curve
_PEERS = {
    "rsync": stage_peers.rsync,
    "scp": stage_peers.scp,
    "copy": stage_peers.ansible_copy,
    "rsync_bbr": stage_peers.rsync,
}


@dataclass(frozen=True)
class Plan:
    """How much is measured. The ways beside edgemgr end after `all_s`, or with edgemgr if it takes longer."""

    images_mib: int
    cuts: int
    all_s: float
    uncut_s: float


def measure(*, quick: bool) -> dict[str, Any]:
    """300 MB in the large form; a trial has 12."""
    plan = Plan(12, 3, 60.0, 5.0) if quick else Plan(286, 20, 600.0, 40.0)
    with _bench(plan) as bench:
        uncut = bench.uncut(plan.uncut_s)
        return {**asdict(plan), "quality": asdict(QUALITY), "uncut": uncut, **bench.race(plan)}


class Bench:
    """The sites, the appliance and the file that the others send."""

    def __init__(self, lab: Lab, appliance: Appliance, directory: Path, file: Path, stack: ExitStack) -> None:
        self._lab = lab
        self._appliance = appliance
        self._file = file
        self._stack = stack
        self._sites = dict(zip(WAYS, lab.list(), strict=True))
        self._directory = directory / "peers"
        StockAnsible(lab, self._directory).open(self._sites[key] for key in _PEERS)
        self._config = stage_peers.write_ssh_config(self._directory)
        stack.callback(stage_peers.end_masters, self._config)
        self._links = {}
        for key, (control, _, _) in WAYS.items():
            self._links[key] = StageLink(lab.directory, SUBNET, self._sites[key], QUALITY, control)
            stack.callback(self._links[key].close)
        self._ledger = TcpLedger(SUBNET)
        self._database = Database(Settings(state_dir=appliance.directory / "state").url)
        stack.callback(self._database.close)

    def uncut(self, time_s: float) -> dict[str, float]:
        """What scp alone comes to with either congestion control, bytes a second."""
        chosen = {WAYS[key][0]: key for key in ("scp", "rsync_bbr")}
        for key in WAYS:
            self._links[key].open()
        peers = {}
        for control, key in chosen.items():
            self._make_place(self._sites[key])
            peers[control] = self._peer(key, stage_peers.scp)
            peers[control].start()
        say(f"scp for {time_s:.0f} s, uncut")
        time.sleep(time_s)
        rates = {control: peer.held_bytes() / time_s for control, peer in peers.items()}
        for peer in peers.values():
            peer.stop()
        for key in chosen.values():
            self._links[key].forget()  # else the kernel goes on with what it was given
        return rates

    def race(self, plan: Plan) -> dict[str, Any]:
        """All ways at once."""
        for key in _PEERS:
            self._make_place(self._sites[key])
        for key in ("rsync", "rsync_bbr"):
            stage_peers.install_rsync(self._sites[key])
        peers = {key: self._peer(key, make) for key, make in _PEERS.items()}
        (forecast,) = self._appliance.items("stage", "start", BUNDLE, "site-1", "--dry-run")
        size, ended = forecast["most_bytes"], Ended(self._item)
        node = stage_peers.site_root(self._sites["edgemgr"])
        ways = [Way("edgemgr", self._links["edgemgr"], size, lambda: staged_bytes(node), lambda: ended.at)]
        for key, peer in peers.items():
            ways.append(
                Way(key, self._links[key], self._file.stat().st_size, peer.held_bytes, lambda peer=peer: peer.done_at)
            )
        watcher = Watcher(ways, self._ledger)
        chance = random.Random(SEED)  # noqa: S311 - repeatable
        cutter = Cutter(watcher, lambda: staged_bytes(node, whole_blocks=True), chance)
        serving = self._appliance.serve()
        self._stack.callback(watcher.stop)
        watcher.start()
        for peer in peers.values():
            peer.start()
        self._appliance.run("stage", BUNDLE, "site-1")
        moments = draw_moments(size, plan.cuts + 1, chance)
        killed = chance.randrange(1, plan.cuts)
        for number, moment in enumerate(moments):
            self._until(lambda moment=moment: staged_bytes(node) >= moment, watcher)
            say(f"{staged_bytes(node) / 1e6:.0f} MB: {'kill -9' if number == killed else 'cut'}")
            if number == killed:
                at = time.monotonic()
                self._appliance.kill(serving)
                for peer in peers.values():
                    peer.kill()
                cutter.note_kill(at)
                serving = self._appliance.serve()
            else:
                cutter.cut()
        self._until(lambda: ended.look() is not None, watcher)
        say(f"edgemgr is done after {ways[0].curve[-1][0]:.0f} s")
        rest_s = watcher.began + plan.all_s - time.monotonic()
        self._until(lambda: all(peer.done_at for peer in peers.values()), watcher, max(rest_s, 0.0))
        watcher.stop()
        for peer in peers.values():
            peer.stop()
        return {
            "size_bytes": size,
            **self._digests(),
            "cuts_made": [_told(cut) for cut in cutter.cuts],
            "ways": [self._outcome(way, peers.get(way.key)) for way in ways],
        }

    def _peer(self, key: str, make: Callable[..., stage_peers.Peer]) -> stage_peers.Peer:
        peer = make(self._sites[key], self._file, self._config, self._directory / f"{key}.log")
        self._stack.callback(peer.stop)
        return peer

    def _make_place(self, site: SimulatedSite) -> None:
        place = f"/home/{site.user}/{stage_peers.PLACE}"
        script = f"rm -rf {place}; install -d -o {site.user} {place}"
        assert self._lab.run(site.name, ["sh", "-ec", script]).returncode == 0

    def _item(self) -> StageItem:
        with self._database.read() as session:
            return stage_items(session, [1])[0]

    def _until(self, is_so: Callable[[], bool], watcher: Watcher, limit_s: float = LIMIT_S) -> None:
        deadline = time.monotonic() + limit_s
        while not is_so():
            watcher.check()
            if limit_s == LIMIT_S:
                assert time.monotonic() < deadline, f"edgemgr got stuck: {self._item()}\n{self._appliance.tail()}"
            elif time.monotonic() > deadline:
                return
            time.sleep(0.1)

    def _digests(self) -> dict[str, int]:
        """Files in the site's content store, and how many of them have not the digest that is their name."""
        script = "cd /var/lib/edgemgr/cache/sha256 && sha256sum -- *"
        done = self._lab.run(self._sites["edgemgr"].name, ["sh", "-ec", script])
        pairs = [line.split() for line in done.stdout.splitlines()]
        assert done.returncode == 0, done.stderr
        assert pairs
        return {"files": len(pairs), "wrong_files": sum(digest != name for digest, name in pairs)}

    def _outcome(self, way: Way, peer: stage_peers.Peer | None) -> dict[str, Any]:
        done_at = way.done_at()
        if peer is not None and done_at is not None:
            assert _sha256(peer.place / "images") == _sha256(self._file), (
                f"{way.key} says it is done, and the file is another"
            )
        times, held = zip(*way.curve[:: max(1, len(way.curve) // POINTS)], way.curve[-1], strict=True)
        return {
            "key": way.key,
            "size_bytes": way.size_bytes,
            "done_s": way.curve[-1][0] if done_at is not None else None,
            "tries": peer.tries if peer is not None else None,
            "most_bytes": way.most_bytes,
            "there_bytes": way.carried.there_bytes,
            "back_bytes": way.carried.back_bytes,
            "given_bytes": way.stream.given_bytes,
            "again_bytes": way.stream.again_bytes,
            "controls": self._ledger.controls(way.link.net.address),
            "curve": {"s": times, "held_bytes": held},
        }


class Ended:
    """When the stage has succeeded, by the monotonic clock."""

    def __init__(self, item: Callable[[], StageItem]) -> None:
        self.at: float | None = None
        self._item = item

    def look(self) -> float | None:
        item = self._item()
        assert item.state in {"queued", "running", "succeeded"}, item
        if self.at is None and item.state == "succeeded":
            self.at = time.monotonic()
        return self.at


@contextmanager
def _bench(plan: Plan) -> Iterator[Bench]:
    """A light site for each way; the appliance knows only its own."""
    settings = load_settings()
    lab = Lab(LAB, subnet=SUBNET, base=settings.lab_dir / "base", progress=lambda _: None)
    directory = Path(tempfile.mkdtemp(prefix="edgemgr-bench-stage-"))
    appliance = Appliance(directory, LAB, EDGEMGR_LEASE_S=str(settings.lease_s))
    with ExitStack() as stack:
        lab.down(purge=True)  # what a run left that was killed
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        stack.callback(lab.down, purge=True)
        stack.callback(appliance.close)
        say("booting the sites, making the bundle")
        lab.up(len(WAYS), light=True)
        rows = lab.csv_path.read_text().splitlines(keepends=True)
        (directory / "site.csv").write_text("".join(rows[:2]))
        appliance.run("site", "import", str(directory / "site.csv"))
        file = bring_bundle(appliance, directory, images_mib=plan.images_mib)
        yield Bench(lab, appliance, directory, file, stack)


def _told(cut: Cut) -> dict[str, float]:
    return {**asdict(cut), "lost_bytes": cut.lost_bytes}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
