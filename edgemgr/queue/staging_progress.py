"""How far a stage has come, written to the database now and then, and the site's rate as it is learnt on the way."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from edgemgr.errors import StoreError
from edgemgr.links.sftp_writer import WINDOW_BYTES
from edgemgr.links.transfer import Sent
from edgemgr.model.throughput import Throughput
from edgemgr.model.timestamp import utc_now
from edgemgr.store import stages
from edgemgr.store.database import Database

logger = logging.getLogger(__name__)

#: How often it is written, seconds: twenty transfers at once cost four small transactions a second.
WRITE_S = 5.0


class StagingProgress:
    """Of one attempt. A database that takes no write now is no reason to stop: the next one tells more."""

    def __init__(
        self,
        database: Database,
        site_id: int,
        bundle: str,
        total_bytes: int,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take what the site is to hold in all; `Sent` counts only what it lacked."""
        self._database = database
        self._site_id = site_id
        self._bundle = bundle
        self._total_bytes = total_bytes
        self._clock = clock
        self._written_at: float | None = None
        self._sent: Sent | None = None
        self._learnt: Sent | None = None  #: what the rate was learnt from up to here

    def note(self, sent: Sent) -> None:
        """Take what the transfer tells, and write it if that is due."""
        self._sent = sent
        if self._written_at is None or self._clock() - self._written_at >= WRITE_S:
            self.write()

    @property
    def has_come(self) -> bool:
        """Whether the node has acknowledged something: more was sent than may be on its way."""
        return self._sent is not None and self._sent.sent_bytes > WINDOW_BYTES

    def write(self) -> None:
        """Write what is known now."""
        if self._sent is None:
            return
        self._written_at, sent = self._clock(), self._sent
        before = self._learnt or Sent(0)
        number, time_s = sent.sent_bytes - before.sent_bytes, sent.elapsed_s - before.elapsed_s
        try:
            with self._database.write() as session:
                row = stages.transfer_of(session, self._site_id, self._bundle)
                row.total_bytes = self._total_bytes
                row.held_bytes = self._total_bytes - sent.total_bytes + sent.held_bytes
                row.sent_bytes = sent.sent_bytes
                row.throughput = learn(row.throughput, number, time_s)
                row.updated_at = utc_now()
        except StoreError as exc:
            logger.warning("the progress of site %d was not written: %s", self._site_id, exc.message)
        else:
            self._learnt = sent


def learn(known: Throughput | None, number_bytes: int, time_s: float) -> Throughput | None:
    """The rate after one more sample."""
    if known is None:
        return Throughput.first(number_bytes, time_s)
    return known.seen(number_bytes, time_s)
