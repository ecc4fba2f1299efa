"""Arrivals: the sites of a claim, tried by their greeting and entered one by one, handed out as groups when ready.

Who does not answer never reaches Ansible, and nobody waits for him: those that are ready go as soon as no further one
is near, or as many as one process is given at most. Every group costs an ansible-runner of its own (half a second of
CPU and 80 MB before it does anything), so that each group gathers for longer than the one before.
"""

from __future__ import annotations

import logging
import math
import queue
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from edgemgr.errors import Retry
from edgemgr.links.probe import Probe, ProbeVerdict, probe_many, tcp_banner
from edgemgr.model.attempt import AttemptResult, Outcome
from edgemgr.model.target import Target
from edgemgr.queue.ahead import Ahead
from edgemgr.store.addresses import Address
from edgemgr.store.claim import Claimed

logger = logging.getLogger(__name__)

#: So long the first group waits for one more site to answer, and for one that has answered to be entered.
ANSWER_GAP_S = 0.5
ENTER_GAP_S = 2.0
#: A group waits so long at most.
GATHER_MAX_S = 30.0
#: The pause that ends a group doubles with each group, up to this one.
GAP_MAX_S = 4.0
#: Who answered so long ago, seconds, is looked at once more before the login, which costs a thousand times as much.
STALE_S = 1.0
#: That look waits so many times what the first one took, and at least so many seconds, as the watch does.
_AGAIN, _AGAIN_S = 3, 4.0
#: How often a group that gathers asks whether it has become enough.
_LOOK_S = 0.25

Ready = tuple[Claimed, Target]


class Arrivals:
    """One claim on its way. `enter` opens the way to a site, or settles it and returns None; it runs in `pool`."""

    def __init__(
        self,
        pool: ThreadPoolExecutor,
        enter: Callable[[Claimed], Target | None],
        settle: Callable[[int, AttemptResult], None],
        timeout_s: float,
        ahead: Ahead,
        *,
        enough: Callable[[int], int] = lambda most: most,
    ) -> None:
        """Who is given a group lets others `join` it while it waits, and then gives back their places `ahead`.

        `enough` says how many sites are enough now, of the most that one process is given.
        """
        self._pool = pool
        self._enter = enter
        self._settle = settle
        self._timeout_s = timeout_s
        self._ahead = ahead
        self._enough = enough
        self._came: queue.SimpleQueue[Ready | None] = queue.SimpleQueue()  # None: a site that will not come
        self._left = 0  #: sites of which we do not know yet whether they come
        self._entering: set[int] = set()  #: sites that are being entered

    def groups(self, claimed: Sequence[Claimed], addresses: Mapping[int, Address]) -> Iterator[list[Ready]]:
        """Every site of the claim that could be entered, in groups; who failed lately stands behind the others."""
        self._pool.submit(self._try_all, claimed, addresses)
        self._left, gap_s = len(claimed), ANSWER_GAP_S
        while self._left:
            group = self._gather(gap_s)
            if group:
                group.sort(key=_order)
                yield group
                gap_s = min(2 * gap_s, GAP_MAX_S)

    def _gather(self, gap_s: float) -> list[Ready]:
        """The next group; empty if nobody comes any more."""
        most = self._ahead.group_sites
        group: list[Ready] = []
        last = begun = math.inf
        while self._left and len(group) < self._enough(most):
            now = time.monotonic()
            if now >= min(last + (max(gap_s, ENTER_GAP_S) if self._entering else gap_s), begun + GATHER_MAX_S):
                break
            try:
                came = self._came.get(timeout=_LOOK_S if group else None)
            except queue.Empty:
                continue
            self._left -= 1
            if came is not None:
                group.append(came)
            if group:
                last = time.monotonic()
                begun = min(begun, last)
        return group

    def join(self, group: list[Ready]) -> int:
        """Let those join a group that came since it was handed out, if it still waits; returns how many it has."""
        with suppress(queue.Empty):
            while len(group) < self._ahead.group_sites:
                came = self._came.get_nowait()
                self._left -= 1
                if came is not None:
                    group.append(came)
        group.sort(key=_order)
        return len(group)

    def shorten(self, group: list[Ready], most: int) -> None:
        """Let the last of a group wait for the next one, so that it has no more than so many."""
        for ready in group[most:]:
            self._left += 1
            self._came.put(ready)
        del group[most:]

    def _try_all(self, claimed: Sequence[Claimed], addresses: Mapping[int, Address]) -> None:
        """Look at every address once, behind one jump host there may be hundreds of sites; not at those just heard."""
        doors: dict[tuple[str, int], list[Claimed]] = {}
        for item in claimed:
            at = addresses.get(item.operation.site_id)
            if at is None or at.is_awake:  # gone, which entering it says; or the watch has only just heard it
                self._begin(item, at)
            else:
                doors.setdefault((at.address, at.port), []).append(item)

        def found(door: tuple[str, int], probe: Probe) -> None:
            for item in doors.pop(door):
                at = addresses[item.operation.site_id]
                if probe.answers or probe.verdict is ProbeVerdict.NOT_TRIED or not at.is_pinned:
                    self._begin(item, at, probe.elapsed_s)
                else:
                    self._settle(item.attempt.id or 0, _unreached(item.site_name, at, probe))
                    self._came.put(None)

        try:
            probe_many([(door, *door) for door in doors], self._timeout_s, on_result=found)
        except Exception:
            logger.exception("the sites of a claim could not be tried")
        for items in doors.values():  # what was not tried is entered as it is
            for item in items:
                self._begin(item, None)

    def _begin(self, item: Claimed, at: Address | None, took_s: float = 0.0) -> None:
        self._pool.submit(self._open, item, at, took_s, time.monotonic())

    def _open(self, item: Claimed, at: Address | None, took_s: float, heard_at: float) -> None:
        self._ahead.take()
        self._entering.add(item.operation.site_id)
        target = None
        try:
            is_stale = time.monotonic() - heard_at >= STALE_S
            if at is None or not is_stale or self._is_there(item, at, max(_AGAIN * took_s, _AGAIN_S)):
                target = self._enter(item)
        except Exception:
            logger.exception("%s: it could not be entered", item.site_name)
        finally:
            self._entering.discard(item.operation.site_id)
            if target is None:
                self._ahead.give_back()
            self._came.put(None if target is None else (item, target))

    def _is_there(self, item: Claimed, at: Address, wait_s: float) -> bool:
        """Whether a site that had to wait for its place still answers; if not, it is settled here."""
        if at.is_jump or not at.is_pinned:  # which says nothing of the site itself
            return True
        probe = tcp_banner(at.address, at.port, min(wait_s, self._timeout_s))
        if probe.answers or probe.verdict is ProbeVerdict.NOT_TRIED:
            return True
        self._settle(item.attempt.id or 0, _unreached(item.site_name, at, probe))
        return False


def _order(ready: Ready) -> tuple[bool, int]:
    operation = ready[0].operation
    return operation.spent + operation.unreached + operation.lost > 0, operation.id or 0


def _unreached(site: str, at: Address, probe: Probe) -> AttemptResult:
    where = f"{'the jump host ' if at.is_jump else ''}{at.address}:{at.port}"
    return AttemptResult(
        Outcome.UNREACHABLE,
        code=probe.code,
        message=f"{site} could not be reached: {where}: {probe.detail}",
        hint="Nothing to do: it goes on when the site can be reached.",
        retry=Retry.FREE,
    )
