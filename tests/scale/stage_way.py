"""The ways to bring a file to a site, and one of them while it is watched."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from stage_link import Carried, StageLink
from stage_tcp import Stream, TcpLedger

from edgemgr.links.transfer_plan import BLOCK_BYTES

SAMPLE_S = 0.25

#: key → congestion control of its link's ends, short name, and what exactly was done.
WAYS = {
    "edgemgr": ("cubic", "edgemgr", "`edgemgr stage` with settings as they come; it asks for BBR by itself"),
    "rsync": ("cubic", "rsync --partial", "`rsync --partial` over ssh, started again until it is done"),
    "scp": ("cubic", "scp", "`scp`, started again until it is done"),
    "copy": ("cubic", "ansible.builtin.copy", "`ansible -m ansible.builtin.copy`, started again until it is done"),
    "rsync_bbr": ("bbr", "rsync --partial, BBR", "the same rsync on an appliance whose system default is BBR"),
}


@dataclass
class Way:
    """One way on its own link. The curve: seconds, bytes at the site."""

    key: str
    link: StageLink
    size_bytes: int
    held_bytes: Callable[[], int]
    done_at: Callable[[], float | None]
    base: Carried = field(default_factory=Carried)
    curve: list[tuple[float, int]] = field(default_factory=list)
    carried: Carried = field(default_factory=Carried)
    stream: Stream = field(default_factory=Stream)
    most_bytes: int = 0

    def look(self, ledger: TcpLedger, began: float) -> None:
        """Take the readings, until it is done."""
        if self.curve and (at := self.done_at()) is not None and self.curve[-1][0] > at - began:
            return
        self.carried = self.link.carried() - self.base
        self.stream = ledger.to(self.link.net.address)
        held = min(self.size_bytes, self.held_bytes())
        self.most_bytes = max(self.most_bytes, held)
        self.curve.append((round(time.monotonic() - began, 1), held))


class Watcher:
    """Looks at all ways, four times a second."""

    def __init__(self, ways: list[Way], ledger: TcpLedger) -> None:
        self.ways = ways
        self.ledger = ledger
        self.began = time.monotonic()
        self.guard = threading.Lock()  #: held while links change: their devices come and go
        self._over = threading.Event()
        self._fault: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Count from now on."""
        self.began = time.monotonic()
        for way in self.ways:
            way.base = way.link.carried()
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def look(self) -> None:
        """Look once; `guard` must be held."""
        self.ledger.look()
        for way in self.ways:
            way.look(self.ledger, self.began)

    def check(self) -> None:
        """Raise what went wrong in its thread."""
        if self._fault is not None:
            raise self._fault

    def _run(self) -> None:
        try:
            while not self._over.wait(SAMPLE_S):
                with self.guard:
                    self.look()
        except BaseException as exc:  # noqa: BLE001 - `check` raises it where it is waited for
            self._fault = exc


def staged_bytes(root: Path, *, whole_blocks: bool = False) -> int:
    """What a node's disk has of what edgemgr sent; `whole_blocks`: what of it is not sent again."""
    total = 0
    for folder in (root / "var/lib/edgemgr/incoming", root / "var/lib/edgemgr/cache/sha256"):
        for path in _files(folder):
            is_part = path.suffix == ".part"
            if is_part and folder.name == "sha256":
                continue  # a copy that is being made of what has come
            with suppress(FileNotFoundError):
                size = path.lstat().st_size
                total += size // BLOCK_BYTES * BLOCK_BYTES if is_part and whole_blocks else size
    return total


def _files(folder: Path) -> list[Path]:
    return [Path(where) / name for where, _, names in os.walk(folder) for name in names]
