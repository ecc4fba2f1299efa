"""The agenda of the watch: which site is tried when, in memory. Forgetting it costs one extra try each."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(slots=True)
class Due:
    """What is known of a site that owes something, until an attempt takes it up. Times are the watch's clock's."""

    next_at: float  #: when it is tried next
    found_at: float  #: when it was first found to owe something
    away_since: float | None = None  #: None: never tried
    was_silent: bool = False  #: it did not answer at least once since then
    wrong_answers: int = 0  #: in a row: it greeted, and then showed another key or nothing
    is_under_way: bool = False

    def note_missed(self, *, is_silent: bool, is_wrong: bool) -> None:
        """Remember a try that did not find the site."""
        self.was_silent |= is_silent
        self.wrong_answers = self.wrong_answers + 1 if is_wrong else 0


class Agenda:
    """Sites in the order in which they are due."""

    def __init__(self) -> None:
        self._dues: dict[int, Due] = {}
        self._heap: list[tuple[float, int]] = []

    def __len__(self) -> int:
        return len(self._dues)

    def of(self, site_id: int) -> Due | None:
        """What is known of a site; None if it owes nothing."""
        return self._dues.get(site_id)

    def replace(self, site_ids: Iterable[int], now: float) -> None:
        """Let exactly these sites be on it; new ones are due at once."""
        before, self._dues = self._dues, {}
        for site_id in site_ids:
            known = before.get(site_id)
            if known is None:
                known = Due(now, now)
                heapq.heappush(self._heap, (now, site_id))
            self._dues[site_id] = known

    def take(self, now: float, most: int) -> list[int]:
        """Up to `most` sites that are due, longest overdue first; each is under way until it is put back."""
        taken: list[int] = []
        while self._heap and len(taken) < most and self._heap[0][0] <= now:
            next_at, site_id = heapq.heappop(self._heap)
            due = self._dues.get(site_id)
            if due is not None and due.next_at == next_at and not due.is_under_way:
                due.is_under_way = True
                taken.append(site_id)
        return taken

    def put_back(self, site_id: int, next_at: float) -> None:
        """Try a site again then, if it still owes something."""
        due = self._dues.get(site_id)
        if due is not None:
            due.next_at, due.is_under_way = next_at, False
            heapq.heappush(self._heap, (next_at, site_id))

    def forget(self, site_ids: Iterable[int]) -> None:
        """Take sites from it."""
        for site_id in site_ids:
            self._dues.pop(site_id, None)
