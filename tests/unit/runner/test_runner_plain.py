"""Whatever a site sends becomes bounded, printable text and plain JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemgr.runner.events import read_event
from edgemgr.runner.plain import JSON_MAX_BYTES, plain, text

ANY_TEXT = st.text(st.characters(codec=None))
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(ANY_TEXT, inner),
    max_leaves=20,
)


@given(ANY_TEXT, st.integers(min_value=20, max_value=200))
def test_text_is_bounded_and_a_terminal_does_nothing_with_it(value: str, max_bytes: int) -> None:
    cleaned = text(value, max_bytes)
    assert len(cleaned.encode()) <= max_bytes
    assert all(char in "\t\n" or (char >= " " and not "\x7f" <= char <= "\x9f") for char in cleaned)


def test_a_line_cannot_be_turned_round_or_coloured() -> None:
    assert text("a\x1b[31mb\u202ec\r\nd\re\x00") == "a\ufffd[31mb\ufffdc\nd\ufffde\ufffd"


def test_innocent_text_stays_as_it_is() -> None:
    assert text("Überlänge: 5 µs\n\tok") == "Überlänge: 5 µs\n\tok"


def test_text_that_is_cut_says_so() -> None:
    assert text("x" * 100, 20) == "x" * 14 + " [cut]"


@given(ANY_JSON)
def test_json_is_what_a_database_takes(value: object) -> None:
    cleaned = plain(value)
    assert "\\u0000" not in json.dumps(cleaned, allow_nan=False)
    assert len(json.dumps(cleaned, ensure_ascii=False).encode()) <= JSON_MAX_BYTES


def test_what_is_too_large_or_too_deep_is_dropped() -> None:
    assert plain(["x" * 1000] * 300) is None
    deep: object = 1
    for _ in range(20):
        deep = [deep]
    assert plain(deep) is None


@given(st.dictionaries(st.sampled_from(["event", "event_data", "stdout", "uuid"]), ANY_JSON))
def test_no_event_is_so_odd_that_reading_it_fails(raw: dict[str, object]) -> None:
    read_event(raw)


@pytest.mark.parametrize("name", ["runner_on_ok", "runner_on_failed", "runner_on_unreachable", "playbook_on_stats"])
@given(res=ANY_JSON, other=ANY_JSON)
def test_no_result_is_so_odd_that_reading_it_fails(name: str, res: object, other: object) -> None:
    keys = ("msg", "rc", "edge_refusals", "edge_checks", "edge_observation", "edge_code", "edge_log", "diff")
    data = {"host": other, "role": other, "task": other, "dark": other, "res": dict.fromkeys(keys, res)}
    assert read_event({"event": name, "event_data": data}) is not None
    read_event({"event": name, "event_data": {"res": res}})
