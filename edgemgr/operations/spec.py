"""OperationSpec: what there is to know about one kind of operation. One file per kind fills it in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from edgemgr.model.operation import OperationKind, Priority
from edgemgr.model.site import Site
from edgemgr.settings import Settings
from edgemgr.store.database import Session


class Params(BaseModel):
    """The parameters of an operation, frozen when it is submitted."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class FollowUp:
    """What is asked for, as part of the same request, once an operation has succeeded."""

    kind: OperationKind
    params: Mapping[str, Any] = field(default_factory=dict)
    keeps_deadline: bool = False  #: what was asked for in the first place is still to come, and has no more time


class OperationSpec(ABC):
    """The static description of a kind. Subclasses hold no state."""

    kind: ClassVar[OperationKind]
    params: ClassVar[type[Params]] = Params
    has_playbook: ClassVar[bool] = True
    timeout_s: ClassVar[float]  #: for one attempt
    deadline_s: ClassVar[float] = 7 * 86400.0  #: how long the intent lives unless the operator says otherwise
    max_attempts: ClassVar[int] = 3
    max_lost: ClassVar[int] = 3  #: so many times its worker may vanish
    priority: ClassVar[int] = Priority.INTERACTIVE
    changes_site: ClassVar[bool] = True
    is_step: ClassVar[bool] = False  #: it may be a step of a longer road: see `follow_up`, `loss` and `stays`

    def batch_key(self, params: Params) -> str:
        """Operations with the same key may travel together."""
        return f"{self.kind.value}/{params.model_dump_json()}"

    def check(self, session: Session, params: Params) -> None:  # noqa: B027 - most kinds have nothing to check
        """Raise UsageError if this cannot be carried out at any site."""

    def check_sites(self, session: Session, params: Params, sites: Sequence[Site]) -> None:  # noqa: B027 - the same
        """Raise UsageError if one of these sites cannot be given this, as far as is known here."""

    def desire(self, site: Site, params: Params) -> None:  # noqa: B027 - most kinds change no wish
        """Write into the Site what the operator now wants of it."""

    def follow_up(self, params: Params) -> FollowUp | None:  # noqa: ARG002
        """What follows from its success; most kinds stand by themselves."""
        return None

    def loss(self, params: Params) -> str:  # noqa: ARG002
        """What is lost beside it if it does not succeed, as the end of a sentence; empty: nothing."""
        return ""

    def stays(self, waiting: Params, newer: Params) -> bool:  # noqa: ARG002
        """Whether one that waits keeps its place when a newer one is asked for: it does that as well, and leads on."""
        return False

    @abstractmethod
    def variables(self, session: Session, params: Params, site: Site, settings: Settings) -> dict[str, object]:
        """What the playbook is told about this site, beside its name and the attempt's number."""
