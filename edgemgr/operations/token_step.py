"""The road of a token's rotation: backup, pull, rotation, backup, pull; and which step of it one of them is."""

from __future__ import annotations

from enum import StrEnum

from edgemgr.operations.spec import Params


class TokenStep(StrEnum):
    """Where a backup or its pull stands."""

    BEFORE = "before"  #: a good state is brought here first; the rotation follows from the pull
    AFTER = "after"  #: the newest backup is to hold the new token


#: What it means for the whole road if the step does not come to its end.
LOSS = {
    TokenStep.BEFORE: "so the token was not rotated",
    TokenStep.AFTER: "so the newest backup does not hold the new token yet",
}


class StepParams(Params):
    """The parameters of a backup and of a pull."""

    token: TokenStep | None = None  #: the step of a token's rotation that it is; None: nothing but itself

    @property
    def loss(self) -> str:
        """What is lost beside it if it fails, as the end of a sentence; empty: nothing."""
        return LOSS[self.token] if self.token else ""

    def leads_on(self) -> bool:
        """Whether the rotation still follows from it."""
        return self.token is TokenStep.BEFORE
