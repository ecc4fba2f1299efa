from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from edgemgr.cli.output import Column, Output, age, emit, emit_one
from edgemgr.cli.table import GAP, NARROWEST, fit


@dataclass(frozen=True)
class Thing:
    name: str
    made_at: datetime
    labels: dict[str, str]
    note: str | None = None


COLUMNS: tuple[Column[Thing], ...] = (
    Column("name", lambda thing: thing.name),
    Column("made", lambda thing: thing.made_at),
    Column("labels", lambda thing: thing.labels),
    Column("the note", lambda thing: thing.note, wide=True),
)
MADE = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
THINGS = [Thing("a", MADE, {"x": "1", "y": "2"}, "=1+1"), Thing("long-name", MADE, {})]


def _printed(capsys: pytest.CaptureFixture[str], output: Output, things: list[Thing] = THINGS) -> str:
    emit(things, COLUMNS, output, kind="ThingList", name=lambda thing: thing.name, total=7)
    return capsys.readouterr().out


def test_json_is_an_envelope_with_kind_items_and_total(capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(_printed(capsys, Output.JSON))
    assert list(document) == ["apiVersion", "kind", "items", "total"]
    assert (document["apiVersion"], document["kind"], document["total"]) == ("edgemgr/v1", "ThingList", 7)
    assert document["items"][0] == {
        "name": "a",
        "made_at": "2026-01-02T03:04:05Z",
        "labels": {"x": "1", "y": "2"},
        "note": "=1+1",
    }


def test_yaml_says_the_same_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert yaml.safe_load(_printed(capsys, Output.YAML)) == json.loads(_printed(capsys, Output.JSON))


def test_jsonl_has_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert [json.loads(line)["name"] for line in _printed(capsys, Output.JSONL).splitlines()] == ["a", "long-name"]


def test_csv_has_every_column_and_defuses_formulas(capsys: pytest.CaptureFixture[str]) -> None:
    assert _printed(capsys, Output.CSV).splitlines() == [
        "name,made,labels,the_note",
        'a,2026-01-02T03:04:05Z,"x=1,y=2",\'=1+1',
        "long-name,2026-01-02T03:04:05Z,,",
    ]


def test_names_stand_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert _printed(capsys, Output.NAME) == "a\nlong-name\n"


def test_a_table_has_aligned_columns_no_boxes_and_wide_ones_only_when_asked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    header, first, second = _printed(capsys, Output.TABLE).splitlines()
    assert header.split() == ["NAME", "MADE", "LABELS"]
    assert first.index("x=1") == header.index("LABELS")
    assert second.startswith("long-name  ")
    assert second.endswith("-")
    assert "THE NOTE" in _printed(capsys, Output.WIDE)


def test_a_terminal_does_not_act_upon_what_a_site_reported(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = [Thing("a\x1b[2J\nfake", MADE, {}, "\u202egnp")]
    shown = _printed(capsys, Output.WIDE, hostile)
    emit_one(hostile[0], COLUMNS, Output.TABLE, kind="Thing", name=lambda thing: thing.name)
    shown += capsys.readouterr().out
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert len(shown.splitlines()) == 2 + len(COLUMNS)


def test_one_thing_is_an_object_without_an_envelope(capsys: pytest.CaptureFixture[str]) -> None:
    emit_one(THINGS[0], COLUMNS, Output.JSON, kind="Thing", name=lambda thing: thing.name)
    document = json.loads(capsys.readouterr().out)
    assert (document["kind"], document["name"]) == ("Thing", "a")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (59, "59s"), (60, "1m"), (7200, "2h"), (86400 * 40, "40d"), (-5, "0s")]
)
def test_an_age_is_in_the_largest_fitting_unit(seconds: int, text: str) -> None:
    assert age(MADE, MADE + timedelta(seconds=seconds)) == text


def test_never_has_no_age() -> None:
    assert age(None) == "-"


@given(st.lists(st.integers(1, 200), min_size=1, max_size=8), st.integers(20, 250))
def test_a_table_fits_the_terminal_unless_columns_would_become_unreadable(widths: list[int], available: int) -> None:
    fitted = fit(widths, available)
    total = sum(fitted) + len(GAP) * (len(widths) - 1)
    assert total <= available or max(fitted) <= NARROWEST
    assert all(new == old or NARROWEST <= new < old for new, old in zip(fitted, widths, strict=True))
