"""Questions about the history: the answers, and that none of them reads the whole of it. On both databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies
from sqlalchemy import event
from sqlmodel import col, select
from tests_support.history_questions import questions, singles
from tests_support.long_history import fill

from edgemgr.errors import NotFoundError
from edgemgr.model.attempt import Attempt, Outcome
from edgemgr.model.operation import Operation, OperationKind, OperationState, WaitingFor
from edgemgr.model.operation_filter import OperationFilter
from edgemgr.model.selector_text import parse_filter, parse_labels
from edgemgr.store import history, operation_search, schema
from edgemgr.store.database import Database
from edgemgr.store.operation_search import count_operations, list_operations

LAST = datetime(2026, 11, 20, tzinfo=UTC)
LIMIT = 7


@dataclass(frozen=True)
class Row:
    """One operation, for answering a question without the database."""

    operation: Operation
    outcome: str | None


def every_row(database: Database) -> list[Row]:
    with database.read() as session:
        outcomes = dict(session.exec(select(Attempt.operation_id, Attempt.outcome)).all())
        operations = session.exec(select(Operation).order_by(col(Operation.id))).all()
    return [Row(operation, outcomes.get(operation.id or 0)) for operation in operations]


def region(site_id: int) -> str:
    return {0: "emea", 1: "apac"}.get(site_id % 4, "amer")


#: Field → whether a row fulfils it, said once more and without SQL.
HOLDS: dict[str, Callable[[Operation, Any], bool]] = {
    "site_ids": lambda op, ids: op.site_id in ids,
    "sites": lambda op, where: {
        parse_labels("region=emea"): region(op.site_id) == "emea",
        parse_labels("ring=canary"): op.site_id % 1000 == 1,
        parse_filter("health=failing"): op.site_id % 50 == 0,
    }[where],
    "states": lambda op, states: op.state in states,
    "kinds": lambda op, kinds: op.kind in kinds,
    "waiting_for": lambda op, what: op.state == "queued" and op.waiting_for == what,
    "request": lambda op, request: op.request == request,
    "actor": lambda op, actor: op.actor == actor,
    "code": lambda op, code: op.code == code,
    "since": lambda op, moment: op.created_at >= moment,
    "until": lambda op, moment: op.created_at < moment,
    "ended_since": lambda op, moment: op.finished_at is not None and op.finished_at >= moment,
    "ended_until": lambda op, moment: op.finished_at is not None and op.finished_at < moment,
    "due_before": lambda op, moment: op.state == "queued" and op.deadline_at < moment,
    "before_id": lambda op, number: (op.id or 0) < number,
    "after_id": lambda op, number: (op.id or 0) > number,
}


def answer(rows: list[Row], fields: Mapping[str, Any]) -> list[int]:
    return [
        row.operation.id or 0
        for row in rows
        if all(
            row.outcome == value if name == "outcome" else HOLDS[name](row.operation, value)
            for name, value in fields.items()
        )
    ]


def check(database: Database, rows: list[Row], fields: Mapping[str, Any]) -> None:
    wanted = replace(OperationFilter(), **fields)
    expected = answer(rows, fields)
    with database.read() as session:
        newest = list_operations(session, wanted, limit=LIMIT)
        oldest = list_operations(session, wanted, limit=LIMIT, oldest_first=True)
        whole, capped = count_operations(session, wanted), count_operations(session, wanted, most=LIMIT)
    assert [row.operation.id for row in newest] == expected[::-1][:LIMIT], fields
    assert [row.operation.id for row in oldest] == expected[:LIMIT], fields
    assert (whole, capped) == (len(expected), min(len(expected), LIMIT)), fields


SIZES = pytest.mark.parametrize(("few", "many"), [(2000, 25_000), (5, 60)], ids=["as it is", "as in a long history"])


@SIZES
def test_every_question_is_answered_rightly(
    database: Database, monkeypatch: pytest.MonkeyPatch, few: int, many: int
) -> None:
    monkeypatch.setattr(operation_search, "FEW", few)
    monkeypatch.setattr(operation_search, "MANY", many)
    fill(database, operations=1500, sites=100, last=LAST)
    rows = every_row(database)
    for fields in singles(LAST, len(rows)).values():
        check(database, rows, fields)


@pytest.mark.exhaustive
@SIZES
def test_every_two_questions_together_are_answered_rightly(
    database: Database, monkeypatch: pytest.MonkeyPatch, few: int, many: int
) -> None:
    monkeypatch.setattr(operation_search, "FEW", few)
    monkeypatch.setattr(operation_search, "MANY", many)
    fill(database, operations=1500, sites=100, last=LAST)
    rows = every_row(database)
    for fields, others in combinations(singles(LAST, len(rows)).values(), 2):
        if not fields.keys() & others.keys():
            check(database, rows, {**fields, **others})


FIELDS = {
    "site_ids": strategies.lists(strategies.integers(1, 60), max_size=30, unique=True).map(tuple),
    "sites": strategies.sampled_from([parse_labels("region=emea"), parse_filter("health=failing")]),
    "states": strategies.sets(strategies.sampled_from(OperationState), min_size=1).map(tuple),
    "kinds": strategies.sets(strategies.sampled_from(OperationKind), min_size=1).map(tuple),
    "waiting_for": strategies.sampled_from(WaitingFor),
    "request": strategies.sampled_from(["r-1", "r-3", "r-open", "r-none"]),
    "actor": strategies.sampled_from(["watch", "ada", "ben", "nobody"]),
    "code": strategies.sampled_from(["E-COMMON", "E-USUAL", "E-RARE"]),
    "outcome": strategies.sampled_from(Outcome),
    "since": strategies.integers(0, 95).map(lambda days: LAST - timedelta(days=days)),
    "until": strategies.integers(0, 95).map(lambda days: LAST - timedelta(days=days)),
    "ended_since": strategies.integers(0, 95).map(lambda days: LAST - timedelta(days=days)),
    "ended_until": strategies.integers(0, 95).map(lambda days: LAST - timedelta(days=days)),
    "due_before": strategies.integers(-1, 1).map(lambda days: LAST + timedelta(days=days)),
    "before_id": strategies.integers(1, 1100),
    "after_id": strategies.integers(0, 1100),
}


def test_any_question_is_answered_rightly(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(database, operations=1000, sites=50, last=LAST)
    rows = every_row(database)

    @settings(max_examples=60, suppress_health_check=list(HealthCheck))
    @given(strategies.fixed_dictionaries({}, optional=FIELDS), strategies.sampled_from([(2000, 25_000), (5, 60)]))
    def asked(fields: dict[str, Any], sizes: tuple[int, int]) -> None:
        monkeypatch.setattr(operation_search, "FEW", sizes[0])
        monkeypatch.setattr(operation_search, "MANY", sizes[1])
        check(database, rows, fields)

    asked()


def test_a_question_about_an_unknown_group_is_refused(database: Database) -> None:
    with database.read() as session, pytest.raises(NotFoundError):
        list_operations(session, OperationFilter(sites=parse_filter("group=none")), limit=LIMIT)


@contextmanager
def statements(database: Database) -> Iterator[list[tuple[str, Any]]]:
    """What is sent to the database meanwhile."""
    seen: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        seen.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(database.engine, "before_cursor_execute", note)


def plan(database: Database, statement: str, parameters: Any) -> str:
    explain = "EXPLAIN QUERY PLAN" if database.dialect == "sqlite" else "EXPLAIN"
    with database.read() as session:
        found = session.connection().exec_driver_sql(f"{explain} {statement}", parameters).all()
    return "\n".join(str(row[-1]) for row in found)


#: Ways whose rows have to be sorted; they are taken only when they lead to few rows.
SORTED = ("operation_site", "operation_deadline", "operation_finished", "LIST SUBQUERY")


def test_no_question_reads_the_whole_table_to_sort_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On SQLite; PostgreSQL weighs each plan by its statistics, and bench_history.py measures what comes of it."""
    database = Database(f"sqlite:///{tmp_path / 'long.db'}")
    schema.upgrade(database)
    monkeypatch.setattr(operation_search, "FEW", 100)
    monkeypatch.setattr(operation_search, "MANY", 500)
    fill(database, operations=20_000, sites=200, last=LAST)
    for name, wanted in questions(LAST, 20_000):
        with statements(database) as sent, database.read() as session:
            list_operations(session, wanted, limit=LIMIT)
        for statement, parameters in sent:
            told = plan(database, statement, parameters)
            if "ORDER BY operation.id DESC" not in statement:
                assert "SCAN operation\n" not in f"{told}\n" or "LIMIT" in statement, (name, told)
                continue
            inner = told.split("SEARCH site")[0]
            is_sorted = any(way in inner.partition("CO-ROUTINE")[2] for way in SORTED)
            walks_all = "SCAN operation\n" in inner
            assert not (walks_all and "TEMP B-TREE FOR ORDER BY" in inner and not is_sorted), (name, told)


def test_the_pages_of_the_console_touch_little_of_a_long_history(database: Database) -> None:
    fill(database, operations=20_000, sites=200, last=LAST)
    with statements(database) as sent, database.read() as session:
        counts = history.open_counts(session)
        progress = history.progress(session, "r-open")
        list_operations(session, OperationFilter(site_ids=(7,)), limit=15)
    assert sum(counts.values()) == progress.total == 40
    for statement, parameters in sent:
        told = plan(database, statement, parameters)
        assert "SCAN operation\n" not in f"{told}\n", told
        assert "Seq Scan on operation" not in told, told


def test_a_clock_that_was_set_back_hides_nothing(database: Database) -> None:
    fill(database, operations=500, sites=10, last=LAST)
    with database.write() as session:
        moved = LAST - timedelta(days=80)
        for number in range(401, 411):  # asked for with a clock that stood in the past
            operation = session.get_one(Operation, number)
            operation.created_at = moved
    with database.read() as session:
        found = list_operations(session, OperationFilter(since=LAST - timedelta(days=30)), limit=500)
        numbers = [row.operation.id for row in found]
    assert not set(range(401, 411)) & set(numbers)
    assert {400, 411} <= set(numbers)
