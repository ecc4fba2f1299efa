"""Scopes of limits, as they are typed."""

from __future__ import annotations

import pytest

from edgemgr.errors import UsageError
from edgemgr.model.scope import Scope


@pytest.mark.parametrize("text", ["all", "kind:bootstrap", "label:vpn", "label:vpn=lte-7", "label:example.org/ring=a"])
def test_a_scope_reads_back_as_it_was_written(text: str) -> None:
    assert str(Scope.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("bootstrap", "kind:bootstrap"),
        ("kind:bootstrip", "kind:bootstrap"),
        ("knd:probe", "kind:probe"),
        ("vpn=lte-7", "label:vpn=lte-7"),
        ("labels:vpn=lte-7", "label:vpn=lte-7"),
        ("vpn:lte-7", "label:vpn=lte-7"),
        ("label:vpn=", "label:vpn"),
        ("ALL", "all"),
    ],
)
def test_a_scope_that_is_none_is_answered_with_what_was_probably_meant(text: str, meant: str) -> None:
    with pytest.raises(UsageError) as caught:
        Scope.parse(text)
    assert caught.value.code == "E-LIMIT-SCOPE"
    assert f"Did you mean {meant}?" in caught.value.hint


@pytest.mark.parametrize(
    "text", ["", ":", "kind:", "label:", "label:=x", "label:a b=c", "label:vpn=a b", "all:1", "??"]
)
def test_what_nobody_can_guess_is_answered_with_the_forms(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Scope.parse(text)
    assert "label:KEY=VALUE" in caught.value.hint
