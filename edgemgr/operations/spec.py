"""OperationSpec: what there is to know about one kind of operation. One file per kind fills it in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from edgemgr.model.operation import OperationKind, Priority
from edgemgr.model.site import Site
from edgemgr.settings import Settings
from edgemgr.store.database import Session


class Params(BaseModel):
    """The parameters of an operation, frozen when it is submitted."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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
    follow_up: ClassVar[OperationKind | None] = None  #: asked for, as part of the same request, once this succeeded

    def batch_key(self, params: Params) -> str:
        """Operations with the same key may travel together."""
        return f"{self.kind.value}/{params.model_dump_json()}"

    def check(self, session: Session, params: Params) -> None:  # noqa: B027 - most kinds have nothing to check
        """Raise UsageError if this cannot be carried out at any site."""

    def check_sites(self, session: Session, params: Params, sites: Sequence[Site]) -> None:  # noqa: B027 - the same
        """Raise UsageError if one of these sites cannot be given this, as far as is known here."""

    def desire(self, site: Site, params: Params) -> None:  # noqa: B027 - most kinds change no wish
        """Write into the Site what the operator now wants of it."""

    @abstractmethod
    def variables(self, session: Session, params: Params, site: Site, settings: Settings) -> dict[str, object]:
        """What the playbook is told about this site, beside its name and the attempt's number."""
