"""Who has begun, who works, and who is slow."""

from __future__ import annotations

from edgemgr.runner.events import EventKind, RunnerEvent
from edgemgr.runner.progress import Progress


def begun(*hosts: str, at: float = 0.0) -> Progress:
    progress = Progress(0.0)
    for host in hosts:
        progress.note(RunnerEvent(EventKind.BEGINS, host=host), at)
    return progress


def test_a_site_works_from_the_beginning_of_a_task_to_its_end() -> None:
    progress = begun("a")
    assert progress.is_working("a")
    progress.note(RunnerEvent(EventKind.OK, host="a"), 5.0)
    assert not progress.is_working("a")
    assert progress.has_begun("a")
    assert progress.working == 0


def test_the_time_of_a_site_counts_from_its_first_task() -> None:
    progress = begun("a", at=10.0)
    progress.note(RunnerEvent(EventKind.OK, host="a"), 15.0)
    progress.note(RunnerEvent(EventKind.BEGINS, host="a"), 16.0)
    assert not progress.is_over("a", 20.0, 29.9)
    assert progress.is_over("a", 20.0, 30.0)
    assert not progress.is_over("b", 0.0, 99.0)


def test_without_anything_to_compare_with_twenty_seconds_are_slow() -> None:
    progress = begun("a", "b")
    assert progress.slow(19.9) == 0
    assert progress.slow(20.0) == 2


def test_where_all_take_long_nobody_is_slow() -> None:
    progress = begun("a", "b", "c")
    for host in ("b", "c"):
        progress.note(RunnerEvent(EventKind.OK, host=host), 60.0)
        progress.finished(host, 60.0)
    assert progress.slow(179.9) == 0
    assert progress.slow(180.0) == 1
