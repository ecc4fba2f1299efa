"""Scope: the part of the appliance that a limit counts, as operators write it."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum

from edgemgr.errors import UsageError
from edgemgr.model.labels import key_fault, value_fault
from edgemgr.model.operation import OperationKind

FORMS = "all, kind:KIND, label:KEY=VALUE, or label:KEY for each value of that label by itself"


class ScopePart(StrEnum):
    """What a limit is about."""

    ALL = "all"  #: everything
    KIND = "kind"  #: operations of one kind
    LABEL = "label"  #: sites with one value of a label, or with each value by itself


@dataclass(frozen=True)
class Scope:
    """One part. `value` is empty where every value of a label counts by itself."""

    part: ScopePart
    key: str = ""
    value: str = ""

    def __str__(self) -> str:
        if self.part is ScopePart.ALL:
            return self.part.value
        return f"{self.part.value}:{self.key}" + (f"={self.value}" if self.value else "")

    @classmethod
    def parse(cls, text: str) -> Scope:
        """Read `all`, `kind:bootstrap`, `label:vpn=lte-7` or `label:vpn`.

        Raises:
            UsageError: it is none of these; the hint says what was probably meant.
        """
        part, colon, rest = text.strip().partition(":")
        if part == ScopePart.ALL.value and not colon:
            return cls(ScopePart.ALL)
        if part == ScopePart.KIND.value and rest in set(OperationKind):
            return cls(ScopePart.KIND, rest)
        if part == ScopePart.LABEL.value and rest:
            return cls._label(text, rest)
        raise _fault(text, "it is none", _meant(part, rest))

    @classmethod
    def _label(cls, text: str, rest: str) -> Scope:
        key, equals, value = rest.partition("=")
        if fault := key_fault(key):
            raise _fault(text, f"{key!r} is no key of a label: {fault}", "")
        if equals and (fault := value_fault(value)):
            raise _fault(text, f"{value!r} is no value of a label: {fault}", f"label:{key}" if not value else "")
        return cls(ScopePart.LABEL, key, value)


def _meant(part: str, rest: str) -> str:
    """The scope that was probably meant; empty where nobody can tell."""
    kinds = [kind.value for kind in OperationKind]
    if near := get_close_matches((rest or part).lower(), kinds, 1):
        return f"kind:{near[0]}"
    if "=" in part and not rest:  # vpn=lte-7
        return f"label:{part}"
    nearest = get_close_matches(part.lower(), [known.value for known in ScopePart], 1)
    if nearest == [ScopePart.ALL.value] and not rest:
        return ScopePart.ALL.value
    if nearest == [ScopePart.LABEL.value] and rest:
        return f"label:{rest}"
    if nearest == [ScopePart.KIND.value]:
        return ""
    return f"label:{part}={rest}" if part and rest and "=" not in rest else ""


def _fault(text: str, why: str, meant: str) -> UsageError:
    return UsageError(
        f"{text!r} is no scope of a limit: {why}",
        hint=f"{f'Did you mean {meant}? ' if meant else ''}Write {FORMS}.",
        code="E-LIMIT-SCOPE",
    )
