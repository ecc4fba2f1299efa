"""Thirty good sites, alone and among twenty bad ones: how long until the good ones are done.

Ten black holes, five that hang (two accept and say nothing, three hang after the login), five that lose their power
in the middle of the task. A real sshd, a real ansible-playbook, the carrier of the queue; a node's work is to wait.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1])]

from tests_support.bad_neighbours import HANGS, Claim, Sshd, black_holes, silent_hosts, sshd

GOOD = 30
BLACK_HOLES = 10
SILENT = 2
HANGING_AFTER_LOGIN = 3
DYING = 5
#: How long a node works at its task, seconds: a bootstrap whose files are there, with a k3s that starts quickly.
WORK_S = 10.0


def measure(*, quick: bool) -> dict[str, Any]:
    """The same claim with and without the bad ones, in turns; the medians of the rounds are compared."""
    rounds = []
    for number in range(1 if quick else 3):
        sys.stderr.write(f"neighbours: round {number + 1}\n")
        rounds.append([_carry(work_s=WORK_S, bad=True), _carry(work_s=WORK_S, bad=False)])
    with_bad, without_bad = (sorted(values)[len(values) // 2] for values in zip(*rounds, strict=True))
    return {
        "batch": GOOD + BLACK_HOLES + SILENT + HANGING_AFTER_LOGIN + DYING,
        "good": GOOD,
        "black_holes": BLACK_HOLES,
        "hanging": SILENT + HANGING_AFTER_LOGIN,
        "dying": DYING,
        "work_s": WORK_S,
        "with_bad_s": with_bad,
        "without_bad_s": without_bad,
        "rounds": rounds,
    }


def _carry(*, work_s: float, bad: bool) -> float:
    """Seconds until the last good site was done."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="em-")))
        good = stack.enter_context(sshd(directory / "good", "127.0.10"))
        claim = Claim(directory / "a", work_s=work_s, connect_timeout_s=10.0)
        stack.callback(claim.close)
        if bad:
            dying = stack.enter_context(sshd(directory / "dying", "127.0.11"))
            claim.add("hole", stack.enter_context(black_holes(BLACK_HOLES)), good)
            claim.add("silent", stack.enter_context(silent_hosts(SILENT)), good)
            hanging = stack.enter_context(sshd(directory / "hanging", "127.0.14", HANGS))
            claim.add("hang", hanging.places(HANGING_AFTER_LOGIN), hanging)
            claim.add("dying", dying.places(DYING), dying)
            _power_off(stack, dying)
        claim.add("good", good.places(GOOD), good)
        fate = claim.carry(until="good-")
        succeeded = sum(name.startswith("good-") and not result.code for name, result in fate.results.items())
        if succeeded != GOOD:
            raise RuntimeError(f"only {succeeded} good sites succeeded: {fate.results}")
        return round(fate.last_s("good-"), 2)


def _power_off(stack: ExitStack, dying: Sshd) -> None:
    """Stop the sessions of these nodes two seconds after Ansible has logged in to all of them, without a word."""
    over = threading.Event()

    def wait() -> None:
        while (dying.directory / "log").read_text().count("Accepted publickey") < 2 * DYING:  # each lived before
            if over.wait(0.2):
                return
        time.sleep(2.0)
        dying.freeze()

    thread = threading.Thread(target=wait)
    thread.start()
    stack.callback(thread.join)
    stack.callback(over.set)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure(quick=True), indent=2) + "\n")
