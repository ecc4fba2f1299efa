"""Reading a Selector from what somebody typed; every fault names its place and, where it can, the right word."""

from __future__ import annotations

import re
from difflib import get_close_matches

from edgemgr.errors import SelectorError
from edgemgr.model.labels import key_fault, value_fault
from edgemgr.model.selector import (
    FIELDS,
    LABEL_OPERATORS,
    LABEL_PREFIX,
    OPERATORS,
    FieldKind,
    Operator,
    Selector,
    SelectorField,
    Term,
)
from edgemgr.model.version_bound import VersionBound

TEXT_LIMIT = 4096

_SEPARATORS = re.compile(r"[\s,]*")
_SPACE = re.compile(r"\s*")
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*", re.ASCII)
_OPERATOR = re.compile(r"==|!=|!~|<=|>=|=|~|<|>")
_SET = re.compile(r"(in|notin)\s*\(")
_VALUE = re.compile(r"""[^\s,()"'<>=!~]*""")
_NUMBER = re.compile(r"\d{1,9}", re.ASCII)
_QUOTED = re.compile(r"""(["'])(.*?)\1""", re.DOTALL)

_BY_SIGN = {
    "=": Operator.IN,
    "==": Operator.IN,
    "!=": Operator.NOT_IN,
    **{op.value: op for op in Operator if not op.value.isalpha()},
}
_SIGNS = {Operator.IN: "=, in", Operator.NOT_IN: "!=, notin", Operator.EXISTS: "KEY", Operator.MISSING: "!KEY"}


def parse_labels(text: str) -> Selector:
    """Read a label selector, as after `-l`.

    Raises:
        SelectorError: it cannot be read.
    """
    return _Reader(text, fields=False).selector()


def parse_filter(text: str) -> Selector:
    """Read a filter: labels and fields, as after `--filter`.

    Raises:
        SelectorError: it cannot be read, or names a field or value that does not exist.
    """
    return _Reader(text, fields=True).selector()


class _Reader:
    """Walks through the text once, from left to right."""

    def __init__(self, text: str, *, fields: bool) -> None:
        self.text = text
        self.fields = fields
        self.at = 0

    def selector(self) -> Selector:
        if len(self.text) > TEXT_LIMIT:
            raise self._error(f"it has more than {TEXT_LIMIT} characters", at=TEXT_LIMIT)
        terms = []
        self._match(_SEPARATORS)
        while self.at < len(self.text):
            terms.append(self._term())
            end = self.at
            if self._match(_SEPARATORS) == "" and self.at < len(self.text):
                raise self._error(f"unexpected {self.text[end]!r}", at=end, hint="Separate terms by a comma.")
        return Selector(tuple(terms))

    def _term(self) -> Term:
        start = self.at
        if self._match(re.compile("!")):
            return self._checked(self._key(), Operator.MISSING, (), start)
        key = self._key()
        after_key = self.at
        spaced = bool(self._match(_SPACE))
        if named := _SET.match(self.text, self.at):
            self.at = named.end()
            return self._checked(key, Operator(named[1]), self._set(), start)
        if sign := self._match(_OPERATOR):
            if spaced:  # `a = b`; but in `profile= arch=arm` the first value is empty
                self._match(_SPACE)
            return self._checked(key, _BY_SIGN[sign], (self._value(),), start)
        self.at = after_key
        return self._checked(key, Operator.EXISTS, (), start)

    def _key(self) -> str:
        start = self.at
        key = self._match(_KEY)
        if not key:
            found = repr(self.text[start]) if start < len(self.text) else "the end"
            raise self._error(f"a key is expected, not {found}", at=start, hint="Write for example region=emea.")
        return key

    def _set(self) -> tuple[str, ...]:
        values = []
        while True:
            self._match(_SPACE)
            values.append(self._value())
            self._match(_SPACE)
            if self._match(re.compile(r"\)")):
                return tuple(values)
            if not self._match(re.compile(",")):
                raise self._error("a comma or ) is expected", at=self.at, hint="Write for example region in (a,b).")

    def _value(self) -> str:
        if quoted := _QUOTED.match(self.text, self.at):
            self.at = quoted.end()
            return quoted[2]
        return self._match(_VALUE)

    def _match(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.at)
        if match is None:
            return ""
        self.at = match.end()
        return match[0]

    def _checked(self, key: str, operator: Operator, values: tuple[str, ...], start: int) -> Term:
        if self.fields and key in FIELDS:
            return self._field_term(FIELDS[key], operator, values, start)
        if self.fields:
            self._refuse_misspelt_field(key, operator, start)
        label = key.removeprefix(LABEL_PREFIX)
        if fault := key_fault(label):
            raise self._error(f"{label!r} is no key of a label: {fault}", at=start)
        if operator not in LABEL_OPERATORS:
            raise self._error(
                f"a label cannot be compared by {operator.value}",
                at=start,
                hint=f"Labels take {_listed(LABEL_OPERATORS)}; fields are asked for by --filter.",
            )
        for value in values:
            if fault := value_fault(value):
                hint = f"For sites without this label write !{label}." if value == "" else ""
                raise self._error(f"{value!r} is no value of a label: {fault}", at=start, hint=hint)
        return Term(label, operator, values)

    def _refuse_misspelt_field(self, key: str, operator: Operator, start: int) -> None:
        near = get_close_matches(key, FIELDS, 1, 0.6 if operator not in LABEL_OPERATORS else 0.8)
        if not near and operator in LABEL_OPERATORS:
            return
        hint = f"Did you mean {near[0]}? " if near else f"Fields are {', '.join(FIELDS)}. "
        raise self._error(
            f"there is no field {key}",
            at=start,
            hint=f"{hint}A label of that name is written {LABEL_PREFIX}{key.removeprefix(LABEL_PREFIX)}=…",
            code="E-SELECTOR-FIELD",
        )

    def _field_term(self, field: SelectorField, operator: Operator, values: tuple[str, ...], start: int) -> Term:
        if operator not in OPERATORS[field.kind]:
            raise self._error(
                f"{field.name} cannot be asked by {_SIGNS.get(operator, operator.value)}",
                at=start,
                hint=f"{field.name} takes {_listed(OPERATORS[field.kind])}.",
                code="E-SELECTOR-FIELD",
            )
        for value in values:
            if expected := _expected(field, operator, value):
                raise self._error(
                    f"{value!r} is no value of {field.name}", at=start, hint=expected, code="E-SELECTOR-VALUE"
                )
        return Term(field.name, operator, values, is_label=False)

    def _error(self, fault: str, *, at: int, hint: str = "", code: str = "E-SELECTOR-SYNTAX") -> SelectorError:
        shown = self.text if len(self.text) <= 120 else f"{self.text[:120]}…"  # noqa: PLR2004 - a line's length
        return SelectorError(f"selector {shown!r}, character {at + 1}: {fault}", hint=hint, code=code)


def _expected(field: SelectorField, operator: Operator, value: str) -> str:
    """Say what to write instead; empty when the value is acceptable."""
    if field.kind is FieldKind.CHOICE and value not in field.choices:
        near = get_close_matches(value, field.choices, 1)
        return f"{f'Did you mean {near[0]}? ' if near else ''}One of {', '.join(field.choices)}."
    if field.kind is FieldKind.NUMBER and _NUMBER.fullmatch(value) is None:
        return "Write a whole number."
    empty_is_meant = value == "" and operator in (Operator.IN, Operator.NOT_IN)
    if field.kind is FieldKind.VERSION and not empty_is_meant and VersionBound.parse(value) is None:
        return "Write v1.33, v1.33.5 or v1.33.5+k3s1."
    return ""


def _listed(operators: tuple[Operator, ...]) -> str:
    return ", ".join(_SIGNS.get(operator, operator.value) for operator in operators)
