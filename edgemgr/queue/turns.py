"""Turns: how many logins are made at the same time.

What a login computes is done by one thread at a time: when sixty begin together, the first is over when all are, five
seconds later, and until then nothing has begun anywhere.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

#: So many in this process; over a link of 50 ms they come to some ten a second, and Ansible takes six or seven.
LOGINS = 12
#: Who has waited so long, seconds, begins without a turn: those that have one may be waiting for links that are gone.
PATIENCE_S = 3.0
_turns = threading.Semaphore(LOGINS)


@contextmanager
def turn() -> Iterator[None]:
    """Wait for a turn, and hold it while the block runs."""
    is_taken = _turns.acquire(timeout=PATIENCE_S)
    try:
        yield
    finally:
        if is_taken:
            _turns.release()
