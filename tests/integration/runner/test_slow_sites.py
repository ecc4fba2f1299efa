"""Sites that hang take nobody's fork for long: each has its own time, and those that wait are carried by another."""

from __future__ import annotations

import threading
import time

import pytest
from runner_bench import Bench, Results, site
from throwaway_sshd import Sshd

from edgemgr.model.attempt import Outcome
from edgemgr.runner import progress
from edgemgr.runner.ansible import run_batch
from edgemgr.runner.batch import Batch, HandOver, SiteRun

pytestmark = pytest.mark.slow


@pytest.fixture
def narrow(bench: Bench) -> Bench:
    """Two forks, and a site has a fork from its first task to its last."""
    bench.settings = bench.settings.model_copy(update={"forks": 2})
    bench.playbook(
        "verify",
        """
        - hosts: sites
          gather_facts: false
          strategy: ansible.builtin.host_pinned
          roles: [report]
        """,
    )
    return bench


def test_the_time_of_a_site_begins_with_its_first_task(narrow: Bench, sshd: Sshd) -> None:
    # Three rounds of two: the last begin when the time of the first would be over.
    results = narrow.run([site(sshd, n, edge_sleep_s=3) for n in range(1, 7)], timeout_s=7)
    assert {result.outcome for result in results.by_attempt.values()} == {Outcome.SUCCEEDED}
    assert results.ended_after_s > 8


def test_a_site_over_its_time_frees_its_fork_for_the_next(narrow: Bench, sshd: Sshd) -> None:
    hanging = [site(sshd, 1, edge_sleep_s=300), site(sshd, 2, edge_sleep_s=300)]
    results = narrow.run([*hanging, *(site(sshd, n) for n in range(3, 6))], timeout_s=6)
    assert [results.by_attempt[n].outcome for n in range(1, 6)] == [Outcome.TIMED_OUT] * 2 + [Outcome.SUCCEEDED] * 3
    assert results.by_attempt[1].code == "E-RUNNER-TIMEOUT"
    assert "6 s after its first task" in results.by_attempt[1].message
    assert results.ended_after_s < 25


def test_a_canceled_site_frees_its_fork_and_one_that_waited_is_never_let_in(narrow: Bench, sshd: Sshd) -> None:
    start = time.monotonic()
    logins = sshd.log.count("Accepted publickey")
    runs = [*(site(sshd, n, edge_sleep_s=300) for n in (1, 2, 3)), site(sshd, 4, edge_sleep_s=3)]
    results = narrow.run(runs, is_canceled=lambda attempt_id: attempt_id < 4 and time.monotonic() - start > 4)
    assert {results.by_attempt[n].outcome for n in (1, 2, 3)} == {Outcome.CANCELED}
    assert results.by_attempt[4].outcome is Outcome.SUCCEEDED
    assert max(results.after_s[n] for n in (1, 2, 3)) < results.after_s[4]
    assert sshd.log.count("Accepted publickey") - logins == 3  # never for the third


def test_sites_that_wait_for_slow_ones_are_handed_over_and_run_once(
    narrow: Bench, sshd: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SLOW_MIN_S", 3.0)
    results, seconds = Results(), []
    start = time.monotonic()

    def take(runs: tuple[SiteRun, ...]) -> None:
        batch = Batch("second", "verify", runs, 60)
        second = threading.Thread(
            target=run_batch,
            args=(batch, narrow.settings),
            kwargs={"on_result": results.take, "playbook_dir": narrow.playbooks},
        )
        seconds.append((runs, second))
        second.start()

    logins = sshd.log.count("Accepted publickey")
    runs = [*(site(sshd, n, edge_sleep_s=300) for n in (1, 2)), *(site(sshd, n) for n in range(3, 9))]
    run_batch(
        Batch("first", "verify", tuple(runs), 20),
        narrow.settings,
        on_result=results.take,
        hand_over=HandOver(lambda: not seconds, take),
        playbook_dir=narrow.playbooks,
    )
    ((given, second),) = seconds
    second.join(timeout=30)
    assert {run.attempt_id for run in given} == {3, 4, 5, 6, 7, 8}
    assert {results.by_attempt[n].outcome for n in range(3, 9)} == {Outcome.SUCCEEDED}
    assert max(results.after_s[n] for n in range(3, 9)) < min(results.after_s[n] for n in (1, 2))
    assert {results.by_attempt[n].outcome for n in (1, 2)} == {Outcome.TIMED_OUT}
    assert sshd.log.count("Accepted publickey") - logins == 8
    assert time.monotonic() - start < 40
    assert "succeeded" in narrow.log(3)
