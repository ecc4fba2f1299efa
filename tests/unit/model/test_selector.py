from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemgr.errors import SelectorError
from edgemgr.model.selector import EVERY_SITE, FIELDS, FieldKind, Operator, Selector, Term
from edgemgr.model.selector_text import parse_filter, parse_labels
from edgemgr.model.version import K3sVersion
from edgemgr.model.version_bound import VersionBound


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("region=emea", Term("region", Operator.IN, ("emea",))),
        ("region==emea", Term("region", Operator.IN, ("emea",))),
        ("region = emea", Term("region", Operator.IN, ("emea",))),
        ("tier!=lab", Term("tier", Operator.NOT_IN, ("lab",))),
        ("region in (emea,apac)", Term("region", Operator.IN, ("emea", "apac"))),
        ("region in ( emea , apac )", Term("region", Operator.IN, ("emea", "apac"))),
        ("ring notin (canary)", Term("ring", Operator.NOT_IN, ("canary",))),
        ("owner", Term("owner", Operator.EXISTS)),
        ("!owner", Term("owner", Operator.MISSING)),
        ("example.com/owner=x", Term("example.com/owner", Operator.IN, ("x",))),
        ("labels.health=good", Term("health", Operator.IN, ("good",))),
        ("in=out", Term("in", Operator.IN, ("out",))),
    ],
)
def test_labels_are_written_as_for_kubectl(text: str, expected: Term) -> None:
    assert parse_labels(text).terms == (expected,)
    assert parse_filter(text).terms == (expected,)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("health=failing", Term("health", Operator.IN, ("failing",), is_label=False)),
        ("name~store-0", Term("name", Operator.CONTAINS, ("store-0",), is_label=False)),
        ("notes!~'two words'", Term("notes", Operator.LACKS, ("two words",), is_label=False)),
        ("k3s<v1.33", Term("k3s", Operator.BELOW, ("v1.33",), is_label=False)),
        ("k3s>=v1.33.5+k3s1", Term("k3s", Operator.AT_LEAST, ("v1.33.5+k3s1",), is_label=False)),
        ("profile=", Term("profile", Operator.IN, ("",), is_label=False)),
        ("port in (22,2222)", Term("port", Operator.IN, ("22", "2222"), is_label=False)),
        ("address=2001:db8::1", Term("address", Operator.IN, ("2001:db8::1",), is_label=False)),
    ],
)
def test_a_filter_takes_fields(text: str, expected: Term) -> None:
    assert parse_filter(text).terms == (expected,)


def test_terms_are_separated_by_commas_or_spaces_and_an_empty_value_ends_at_the_next_space() -> None:
    terms = parse_filter("profile= arch=amd64,region=emea  !owner").terms
    assert [(term.key, term.operator, term.values) for term in terms] == [
        ("profile", Operator.IN, ("",)),
        ("arch", Operator.IN, ("amd64",)),
        ("region", Operator.IN, ("emea",)),
        ("owner", Operator.MISSING, ()),
    ]


@pytest.mark.parametrize("text", ["", " ", ",", " , "])
def test_an_empty_text_selects_every_site(text: str) -> None:
    assert parse_filter(text) == EVERY_SITE


@pytest.mark.parametrize(
    ("text", "code", "told"),
    [
        ("helth=failing", "E-SELECTOR-FIELD", "Did you mean health?"),
        ("healthy~x", "E-SELECTOR-FIELD", "Did you mean health?"),
        ("colour<3", "E-SELECTOR-FIELD", "Fields are name,"),
        ("health=failling", "E-SELECTOR-VALUE", "Did you mean failing?"),
        ("trust<seen", "E-SELECTOR-FIELD", "trust takes =, in, !=, notin."),
        ("k3s<latest", "E-SELECTOR-VALUE", "v1.33.5+k3s1"),
        ("port=ssh", "E-SELECTOR-VALUE", "whole number"),
        ("port=99999999999", "E-SELECTOR-VALUE", "whole number"),
        ("region in (a,b", "E-SELECTOR-SYNTAX", "character 15: a comma or ) is expected"),
        ("=emea", "E-SELECTOR-SYNTAX", "character 1: a key is expected, not '='"),
        ("region=a!b", "E-SELECTOR-SYNTAX", "character 9: unexpected '!'"),
        ("region=", "E-SELECTOR-SYNTAX", "write !region"),
        ("!", "E-SELECTOR-SYNTAX", "not the end"),
        ("-x=1", "E-SELECTOR-SYNTAX", "a key is expected, not '-'"),
        ("a=" + "b" * 5000, "E-SELECTOR-SYNTAX", "more than 4096"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place_and_the_right_word(text: str, code: str, told: str) -> None:
    with pytest.raises(SelectorError) as caught:
        parse_filter(text)
    assert caught.value.code == code
    assert told in f"{caught.value.message} {caught.value.hint}"


def test_a_label_selector_sends_comparisons_to_the_filter() -> None:
    with pytest.raises(SelectorError, match="cannot be compared by ~") as caught:
        parse_labels("name~store")
    assert "--filter" in caught.value.hint


def test_selectors_are_joined_by_and() -> None:
    joined = parse_labels("a=b") & parse_filter("health=healthy")
    assert [term.key for term in joined.terms] == ["a", "health"]
    assert Selector() & joined == joined


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_but_never_crashes(text: str) -> None:
    with suppress(SelectorError):
        assert parse_filter(text).terms or not text.strip(", \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0")


_WORD = st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True)
_SIGNS = {Operator.CONTAINS: "~", Operator.LACKS: "!~"}


@given(st.lists(st.tuples(st.sampled_from(sorted(FIELDS)), _WORD), min_size=1, max_size=4), st.sampled_from(", "))
def test_what_is_written_by_the_rules_is_read_back(pairs: list[tuple[str, str]], separator: str) -> None:
    texts = {FieldKind.TEXT, FieldKind.GROUP}
    kept = [(name, word) for name, word in pairs if FIELDS[name].kind in texts]
    terms = parse_filter(separator.join(f"{name}={word}" for name, word in kept)).terms
    assert [(term.key, term.values) for term in terms] == [(name, (word,)) for name, word in kept]


@pytest.mark.parametrize(
    ("bound", "version", "order"),
    [
        ("v1.33", "v1.33.5+k3s1", 0),
        ("1.33", "v1.33.0-rc1+k3s1", 0),
        ("v1.33", "v1.32.99+k3s9", -1),
        ("v1.33.5", "v1.33.10+k3s1", 1),
        ("v1.33.5+k3s1", "v1.33.5+k3s2", 1),
        ("v1.33.5+k3s2", "v1.33.5+k3s10", 1),
        ("v1", "v2.0.0+k3s1", 1),
    ],
)
def test_part_of_a_version_stands_for_all_that_begin_so(bound: str, version: str, order: int) -> None:
    read = VersionBound.parse(bound)
    assert read is not None
    assert read.compare(K3sVersion.parse(version)) == order


@pytest.mark.parametrize("text", ["", "v", "latest", "v1.33.x", "1.33.5.7", "v1.33.5+rke2r1", " v1.33"])
def test_what_is_no_version_is_no_bound(text: str) -> None:
    assert VersionBound.parse(text) is None
