"""Errand: what of an attempt needs no playbook, with what it takes to carry it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgemgr.model.target import Target
from edgemgr.settings import Settings
from edgemgr.store.claim import Claimed
from edgemgr.store.database import Database
from edgemgr.vault.vault import Vault


@dataclass(frozen=True)
class Errand:
    """What a function for it is given. Both questions are quick and may be asked often."""

    database: Database
    settings: Settings
    claimed: Claimed
    target: Target
    vault: Vault
    is_canceled: Callable[[], bool]  #: it is to end now
    gives_way: Callable[[], bool]  #: it is to end soon: something of a higher priority waits for this site

    @property
    def attempt_id(self) -> int:
        """The number of the attempt, which is the fencing token on the node."""
        return self.claimed.attempt.id or 0

    @property
    def site_id(self) -> int:
        """The site that it is for."""
        return self.claimed.operation.site_id
