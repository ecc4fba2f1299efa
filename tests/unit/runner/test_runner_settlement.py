"""Which sites of a batch are open, dismissed or given away, event by event."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edgemgr.model.attempt import AttemptResult, Outcome
from edgemgr.model.target import Target
from edgemgr.runner import progress
from edgemgr.runner.batch import Batch, SiteRun
from edgemgr.runner.events import EventKind, RunnerEvent, TaskResult
from edgemgr.runner.result import Ending
from edgemgr.runner.settlement import Settlement


class Case:
    """A batch of sites 1, 2, 3 and what was settled of it."""

    def __init__(self, directory: Path, timeout_s: float = 60) -> None:
        self.settled: dict[int, AttemptResult] = {}
        runs = tuple(SiteRun(n, Target(n, f"s{n}", "a", 22, "root", "k"), {}) for n in (1, 2, 3))
        self.settlement = Settlement(Batch("b", "verify", runs, timeout_s), directory, self._take)

    def _take(self, attempt_id: int, result: AttemptResult) -> None:
        assert attempt_id not in self.settled
        self.settled[attempt_id] = result

    def tell(self, kind: EventKind, number: int, **result: object) -> None:
        event = RunnerEvent(kind, host=f"edgemgr-site-{number}", result=TaskResult(**result))  # type: ignore[arg-type]
        self.settlement.take(event)

    def given(self) -> list[int]:
        return sorted(run.attempt_id for run in self.settlement.give_away())


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Case]:
    monkeypatch.setattr(progress, "SLOW_MIN_S", 0.0)
    case = Case(tmp_path)
    yield case
    case.settlement.finish(Ending.CRASHED)  # closes the logs


def test_sites_that_wait_are_given_away_once_most_forks_are_slow(case: Case) -> None:
    assert case.settlement.withhold(forks=1) == []
    case.tell(EventKind.BEGINS, 1)
    assert sorted(case.settlement.withhold(forks=2)) == ["edgemgr-site-2", "edgemgr-site-3"]
    assert case.given() == [2, 3]
    assert case.given() == []
    case.settlement.finish(Ending.CRASHED)
    assert set(case.settled) == {1}


def test_a_withheld_site_that_began_after_all_stays(case: Case) -> None:
    case.tell(EventKind.BEGINS, 1)
    case.settlement.withhold(forks=1)
    case.tell(EventKind.BEGINS, 2)
    assert case.given() == [3]
    case.tell(EventKind.OK, 2, observation={"health": "healthy"})
    assert case.settled[2].outcome is Outcome.SUCCEEDED


def test_a_withheld_site_that_was_not_let_in_is_given_away_and_not_blamed(case: Case) -> None:
    case.tell(EventKind.BEGINS, 1)
    case.settlement.withhold(forks=1)
    case.tell(EventKind.BEGINS, 2)
    case.tell(EventKind.UNREACHABLE, 2, message="Failed to connect via ssh: edge@x: Permission denied (publickey).")
    assert case.given() == [2, 3]
    assert case.settled == {}


def test_the_same_words_of_a_site_that_was_not_withheld_are_its_result(case: Case) -> None:
    case.tell(EventKind.BEGINS, 2)
    case.tell(EventKind.UNREACHABLE, 2, message="Failed to connect via ssh: edge@x: Permission denied (publickey).")
    assert case.settled[2].code == "E-LOGIN-KEY"


def test_a_site_over_its_time_is_dismissed_and_the_others_go_on(tmp_path: Path) -> None:
    case = Case(tmp_path, timeout_s=0)
    case.tell(EventKind.BEGINS, 1)
    case.settlement.time_out()
    assert case.settled[1].outcome is Outcome.TIMED_OUT
    assert case.settlement.dismissed == {"edgemgr-site-1"}
    assert case.settlement.progress.is_working("edgemgr-site-1")
    assert not case.settlement.is_complete
    case.tell(EventKind.FAILED, 1, message="what is left of it")
    assert not case.settlement.progress.is_working("edgemgr-site-1")
    case.settlement.finish(Ending.CRASHED)
