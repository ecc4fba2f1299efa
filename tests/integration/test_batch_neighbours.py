"""One claim of fifty sites of which twenty are bad, each in a way that used to hold the others up."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests_support.bad_neighbours import HANGS, Claim, Fate, black_holes, silent_hosts, sshd

from edgemgr.model.attempt import Outcome

pytestmark = pytest.mark.slow
GOOD = 30


@pytest.fixture(scope="module")
def fate() -> Iterator[Fate]:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="em-")))
        good = stack.enter_context(sshd(directory / "good", "127.0.10"))
        dying = stack.enter_context(sshd(directory / "dying", "127.0.11"))
        hanging = stack.enter_context(sshd(directory / "hanging", "127.0.14", HANGS))
        claim = Claim(directory / "a", work_s=3.0, forks=20, ssh_fast_kex=True, connect_timeout_s=8.0)
        stack.callback(claim.close)
        # The bad ones first: whoever came first got the forks.
        claim.add("hole", stack.enter_context(black_holes(10)), good)
        claim.add("silent", stack.enter_context(silent_hosts(2)), good)
        claim.add("hang", hanging.places(2), hanging)
        claim.add("stuck", good.places(1), good)
        claim.add("dying", dying.places(5), dying)
        claim.add("good", good.places(GOOD), good)
        done = threading.Event()

        def power_off() -> None:
            logged_in = "Accepted publickey"  # each of the five twice: to see that it lives, and by Ansible
            while (dying.directory / "log").read_text().count(logged_in) < 10 and not done.wait(0.2):
                pass
            time.sleep(1.0)
            dying.freeze()

        thread = threading.Thread(target=power_off)
        thread.start()
        try:
            yield claim.carry(until=("good-", "dying-"))
        finally:
            done.set()
            thread.join()


def _outcomes(fate: Fate, prefix: str) -> set[Outcome]:
    return {result.outcome for name, result in fate.results.items() if name.startswith(prefix)}


def _worst(fate: Fate) -> list[str]:
    return [
        f"{name}: {result}"
        for name, result in fate.results.items()
        if name.startswith("good-") and result.outcome is not Outcome.SUCCEEDED
    ]


def test_every_site_has_its_own_outcome(fate: Fate) -> None:
    assert len(fate.results) == 50
    assert _outcomes(fate, "good-") == {Outcome.SUCCEEDED}, _worst(fate)
    assert _outcomes(fate, "hole-") == _outcomes(fate, "silent-") == {Outcome.UNREACHABLE}
    assert _outcomes(fate, "dying-") == {Outcome.UNREACHABLE}, fate.results
    assert _outcomes(fate, "hang-") == {Outcome.UNREACHABLE}
    assert _outcomes(fate, "stuck-") == {Outcome.CANCELED}


def test_who_does_not_answer_never_takes_a_fork(fate: Fate) -> None:
    assert {name.partition("-")[0] for name in fate.began} == {"good", "stuck", "dying"}


def test_those_that_do_not_answer_are_told_apart_and_settled_when_that_is_known(fate: Fate) -> None:
    assert fate.results["hole-1"].code == "E-SITE-NO-ANSWER"
    assert fate.results["silent-1"].code == "E-SITE-TURNED-AWAY"
    assert fate.results["hang-1"].code == "E-SITE-HANGS"
    assert max(fate.last_s(prefix) for prefix in ("hole-", "silent-", "hang-")) < 25


def test_the_good_ones_do_not_wait_for_the_bad_ones(fate: Fate) -> None:
    # The one that is stuck in its task was canceled when all others were done; nobody waited for its time.
    assert fate.last_s("good-") < fate.after_s["stuck-1"]
    assert fate.results["stuck-1"].outcome is Outcome.CANCELED
    # Those that fell silent in their task hold their forks for 15 s and more.
    assert sum(fate.after_s[f"good-{n}"] < fate.last_s("dying-") for n in range(1, GOOD + 1)) >= GOOD // 3
