"""Selector: a predicate over the labels and fields of Sites; one language in URL, command line and API.

Labels are written as for kubectl: `region=emea`, `tier!=lab`, `region in (emea,apac)`, `ring notin (canary)`,
`owner`, `!owner`. A filter also takes fields: `health=failing`, `name~store-0`, `k3s<v1.33`, `profile=`. Terms are
separated by commas or spaces, and all of them must hold. As for kubectl, `a!=b` also holds where there is no `a`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from edgemgr.model.cluster import Health, Reachability, UpdateStatus
from edgemgr.model.site import Trust

#: Written before a key, it makes that a label even where a field has the same name.
LABEL_PREFIX = "labels."


class Operator(StrEnum):
    """What a term asks of a label or a field."""

    IN = "in"  #: also `=` and `==`
    NOT_IN = "notin"  #: also `!=`
    EXISTS = "exists"
    MISSING = "missing"
    CONTAINS = "~"
    LACKS = "!~"
    BELOW = "<"
    AT_MOST = "<="
    ABOVE = ">"
    AT_LEAST = ">="


ORDERING = (Operator.BELOW, Operator.AT_MOST, Operator.ABOVE, Operator.AT_LEAST)
_SETS = (Operator.IN, Operator.NOT_IN)
_PRESENCE = (Operator.EXISTS, Operator.MISSING)
_PARTS = (Operator.CONTAINS, Operator.LACKS)


class FieldKind(StrEnum):
    """How the values of a field are read."""

    TEXT = "text"
    CHOICE = "choice"
    NUMBER = "number"
    VERSION = "version"
    GROUP = "group"


OPERATORS: dict[FieldKind, tuple[Operator, ...]] = {
    FieldKind.TEXT: (*_SETS, *_PARTS, *_PRESENCE),
    FieldKind.CHOICE: _SETS,
    FieldKind.NUMBER: (*_SETS, *ORDERING),
    FieldKind.GROUP: _SETS,
    FieldKind.VERSION: (*_SETS, *ORDERING, *_PRESENCE),
}
LABEL_OPERATORS = (*_SETS, *_PRESENCE)


@dataclass(frozen=True)
class SelectorField:
    """A field of a site that a filter may name."""

    name: str
    kind: FieldKind
    help: str
    choices: tuple[str, ...] = ()


FIELDS = {
    field.name: field
    for field in (
        SelectorField("name", FieldKind.TEXT, "name of the site"),
        SelectorField("address", FieldKind.TEXT, "host name or IP address"),
        SelectorField("port", FieldKind.NUMBER, "port of SSH"),
        SelectorField("user", FieldKind.TEXT, "login name"),
        SelectorField("trust", FieldKind.CHOICE, "what is known of the host key", tuple(Trust)),
        SelectorField("reachability", FieldKind.CHOICE, "whether the site answers", tuple(Reachability)),
        SelectorField("health", FieldKind.CHOICE, "state of k3s as last observed", tuple(Health)),
        SelectorField("update", FieldKind.CHOICE, "observed version beside the wanted one", tuple(UpdateStatus)),
        SelectorField("k3s", FieldKind.VERSION, "version of k3s as last observed"),
        SelectorField("profile", FieldKind.TEXT, "name of the profile"),
        SelectorField("arch", FieldKind.TEXT, "architecture"),
        SelectorField("timezone", FieldKind.TEXT, "time zone"),
        SelectorField("paused", FieldKind.CHOICE, "whether an operator paused it", ("yes", "no")),
        SelectorField("notes", FieldKind.TEXT, "free text"),
        SelectorField("group", FieldKind.GROUP, "name of a saved selector"),
    )
}


@dataclass(frozen=True)
class Term:
    """One condition. A field if `is_label` is false."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()
    is_label: bool = True


@dataclass(frozen=True)
class Selector:
    """All terms must hold; without any it selects every site."""

    terms: tuple[Term, ...] = ()

    def __and__(self, other: Selector) -> Selector:
        return Selector(self.terms + other.terms)

    @classmethod
    def of_names(cls, *names: str) -> Selector:
        """Select the sites of these names."""
        return cls((Term("name", Operator.IN, names, is_label=False),))


EVERY_SITE = Selector()
