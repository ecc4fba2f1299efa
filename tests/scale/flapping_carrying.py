"""How claims are carried in the simulated fleet: contact, groups, and the forks that all processes share.

It keeps to what queue/arrivals.py, queue/ahead.py, queue/slots.py and queue/work.py do, and takes their numbers from
there; only the time that a login takes is left out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from flapping_link import Link
from flapping_machine import Machine, Timeline

from edgemgr.queue.ahead import group_sites
from edgemgr.queue.arrivals import ANSWER_GAP_S
from edgemgr.queue.slots import PATIENCE_S, PROCESS, SMALL
from edgemgr.runner.ssh_files import AGAIN_S

#: When a connection that is not answered is tried again, after its begin (tcp_syn_retries in tcp(7): doubling).
TRIES_S = (0.0, 1.0, 3.0, 7.0)
START_S = 1.0  #: until an Ansible process reaches its first site
SSH_PATIENCE_S = 17.5  #: silence after which ssh gives up: three times five seconds, noticed at the next


class Ending(Protocol):
    """What is called once when a site needs its fork no more."""

    def __call__(self, *, is_done: bool) -> None:
        """Take the result."""


class Fleet(Timeline, Protocol):
    """What the carrying needs of the fleet."""

    def settle(self, attempt_id: int, site_id: int, *, is_done: bool) -> None:
        """End an attempt, as succeeded or unreachable."""


@dataclass(frozen=True)
class Carrying:
    """What was measured, and the settings."""

    rate_per_s: float  #: sites a second when many are carried and nothing flaps
    alone_s: float  #: how long a site takes that is carried alone
    forks: int
    contact_s: float  #: connect_timeout_s


@dataclass
class Carried:
    """One claim under way."""

    open: int


@dataclass
class Group:
    """Sites of a claim that one Ansible process carries."""

    claim: Carried
    since_s: float
    waiting: deque[tuple[int, int]]  #: (attempt, site) that have no fork yet
    open: int
    forks: int = 0


@dataclass
class Forks:
    """The forks of the appliance, and who waits for them."""

    timeline: Fleet
    links: Mapping[int, Link]
    carrying: Carrying
    machine: Machine = field(init=False)
    free: int = field(init=False)
    queue: deque[Group] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.machine = Machine(self.timeline, self.carrying.rate_per_s, self.carrying.alone_s)
        self.free = self.carrying.forks + PROCESS + SMALL + PROCESS

    @property
    def is_idle(self) -> bool:
        """A process of full size could begin at once."""
        return self.free >= PROCESS + self.carrying.forks

    def carry(self, items: Sequence[tuple[int, int]]) -> Carried:
        """Begin with a claim: (attempt, site) each."""
        claim, now_s = Carried(len(items)), self.timeline.now_s
        arrivals: dict[float, list[tuple[int, int]]] = {}
        for attempt_id, site_id in items:
            tries = (after_s for after_s in TRIES_S if self.links[site_id].is_up(now_s + after_s))
            answered_s = next(tries, None)
            if answered_s is None:
                self._end_at(now_s + self.carrying.contact_s, claim, attempt_id, site_id, is_done=False)
            else:
                arrivals.setdefault(answered_s, []).append((attempt_id, site_id))
        for answered_s, came in arrivals.items():
            ready_s = now_s + answered_s + ANSWER_GAP_S
            most = group_sites(self.carrying.forks)
            for start in range(0, len(came), most):
                piece = deque(came[start : start + most])
                group = Group(claim, ready_s, piece, len(piece))
                self.timeline.at(ready_s, lambda group=group: self._queue(group))  # type: ignore[misc]
        return claim

    def _queue(self, group: Group) -> None:
        self.queue.append(group)
        self.timeline.at(self.timeline.now_s + PATIENCE_S, self._serve)
        self._serve()

    def _serve(self) -> None:
        for group in list(self.queue):
            has_waited = self.timeline.now_s - group.since_s >= PATIENCE_S
            free = self.free + (self.carrying.forks + PROCESS if has_waited else 0)
            if free >= PROCESS + min(group.open, max(1, self.carrying.forks * 3 // 4)):
                self.queue.remove(group)
                group.forks = min(group.open, self.carrying.forks, free - PROCESS)
                self._shorten(group)
                self.free -= group.forks + PROCESS
                for _ in range(group.forks):
                    self.timeline.at(self.timeline.now_s + START_S, lambda group=group: self._next(group))  # type: ignore[misc]

    def _shorten(self, group: Group) -> None:
        """With few forks it is given few sites; the others wait as a group of their own."""
        most = group_sites(group.forks)
        if group.open > most:
            rest = deque(group.waiting.pop() for _ in range(group.open - most))
            group.open = most
            self.queue.append(Group(group.claim, group.since_s, rest, len(rest)))

    def _next(self, group: Group) -> None:
        """A fork of the process is free: its next site takes it."""
        if not group.waiting:
            return
        attempt_id, site_id = group.waiting.popleft()
        link, now_s = self.links[site_id], self.timeline.now_s

        def end(*, is_done: bool) -> None:
            self._end(group.claim, attempt_id, site_id, is_done=is_done)
            self._give_back(group)

        connected_s = next((after_s for after_s in TRIES_S if link.is_up(now_s + after_s)), None)
        if connected_s is None or connected_s > AGAIN_S:
            contact_s = min(AGAIN_S, self.carrying.contact_s)  # it was entered a moment ago
            self.timeline.at(now_s + contact_s, lambda: end(is_done=False))
        else:
            self.timeline.at(now_s + connected_s, lambda: self._serve_site(site_id, 1.0, end))

    def _serve_site(self, site_id: int, share: float, end: Ending) -> None:
        """Carry on with a site until it is done or its link goes down; a short outage only holds it up."""
        link, is_over = self.links[site_id], False

        def done() -> None:
            nonlocal is_over
            is_over = True
            end(is_done=True)

        def down() -> None:
            if is_over:
                return
            left = self.machine.interrupt(site_id)
            now_s = self.timeline.now_s
            back_s = link.next_change(now_s)
            if back_s - now_s > SSH_PATIENCE_S:
                self.timeline.at(now_s + SSH_PATIENCE_S, lambda: end(is_done=False))
            else:
                self.timeline.at(back_s, lambda: self._serve_site(site_id, left, end))

        self.machine.carry(site_id, share, done)
        change_s = link.next_change(self.timeline.now_s)
        if change_s < float("inf"):
            self.timeline.at(change_s, down)

    def _give_back(self, group: Group) -> None:
        group.open -= 1
        spare = max(0, group.forks - group.open)
        group.forks -= spare
        self.free += spare + (PROCESS if group.open == 0 else 0)
        self._next(group)
        self._serve()

    def _end_at(self, when_s: float, claim: Carried, attempt_id: int, site_id: int, *, is_done: bool) -> None:
        self.timeline.at(when_s, lambda: self._end(claim, attempt_id, site_id, is_done=is_done))

    def _end(self, claim: Carried, attempt_id: int, site_id: int, *, is_done: bool) -> None:
        claim.open -= 1
        self.timeline.settle(attempt_id, site_id, is_done=is_done)
