"""TransferScope: the part of the fleet that a bandwidth limit or a transfer window is about. A pure rule."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from edgemgr.errors import UsageError
from edgemgr.model.scope import Scope, ScopePart

_SITE = "site:"
_ALL = ScopePart.ALL.value
_HINT = "Write all, label:KEY=VALUE, label:KEY for each value of that label by itself, or site:NAME."


@dataclass(frozen=True)
class TransferScope:
    """`all`, `label:KEY=VALUE`, `label:KEY` or `site:NAME`, as it is written."""

    text: str

    def __str__(self) -> str:
        return self.text

    @property
    def site(self) -> str | None:
        """The name of the site, where it is about one."""
        return self.text.removeprefix(_SITE) if self.text.startswith(_SITE) else None

    @classmethod
    def parse(cls, text: str) -> TransferScope:
        """Read one.

        Raises:
            UsageError: it is none of these (E-LIMIT-SCOPE).
        """
        text = text.strip()
        if text.startswith(_SITE) and len(text) > len(_SITE):
            return cls(text)
        try:
            scope = Scope.parse(text)
        except UsageError as exc:
            raise UsageError(f"{text!r} is no scope of a transfer", hint=_HINT, code="E-LIMIT-SCOPE") from exc
        if scope.part is ScopePart.KIND:
            raise UsageError(f"{text!r} is no scope of a transfer", hint=_HINT, code="E-LIMIT-SCOPE")
        return cls(str(scope))


@dataclass(frozen=True)
class SiteParts:
    """What decides to which scopes a site belongs."""

    name: str
    labels: Mapping[str, str]

    @property
    def names(self) -> list[str]:
        """The parts of the fleet within which the site shares bandwidth; all of their limits hold together."""
        return [_ALL, f"{_SITE}{self.name}", *self._values()]

    def windows(self, scopes: Collection[str]) -> list[str]:
        """The scopes whose windows hold for the site: its own, else those of its labels, else that of all.

        So an exception can be made for one site. Of several labels all windows have to be open.
        """
        own = f"{_SITE}{self.name}"
        if own in scopes:
            return [own]
        labels = {scope for part in self._values() if (scope := scope_of(part, scopes)) is not None}
        return sorted(labels) or [scope for scope in (_ALL,) if scope in scopes]

    def _values(self) -> list[str]:
        return [str(Scope(ScopePart.LABEL, key, value)) for key, value in sorted(self.labels.items())]


def scope_of(part: str, scopes: Collection[str]) -> str | None:
    """The scope that holds for a part: its own, or that of every value of its label; None where there is none."""
    if part in scopes:
        return part
    every = part.partition("=")[0]
    return every if part.startswith("label:") and every in scopes else None
