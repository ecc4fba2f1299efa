"""How many log in at the same time."""

from __future__ import annotations

import threading
from contextlib import ExitStack

import pytest

from edgemgr.queue import turns
from edgemgr.queue.turns import LOGINS, turn


def test_one_more_than_may_log_in_at_once_begins_when_another_is_done() -> None:
    begun = threading.Event()

    def log_in() -> None:
        with turn():
            begun.set()

    with ExitStack() as held:
        for _ in range(LOGINS):
            held.enter_context(turn())
        waiting = threading.Thread(target=log_in, daemon=True)
        waiting.start()
        assert not begun.wait(0.05)
    assert begun.wait(10)
    waiting.join(10)


def test_links_that_are_gone_hold_nobody_up_for_longer_than_one_has_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "PATIENCE_S", 0.01)
    with ExitStack() as held:
        for _ in range(2 * LOGINS):
            held.enter_context(turn())
    with ExitStack() as held:  # who went without a turn gave none back
        for _ in range(LOGINS):
            held.enter_context(turn())
        assert not turns._turns.acquire(blocking=False)
