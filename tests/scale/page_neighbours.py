"""The page's section on a batch with bad sites in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from claim import Claim


def claims(result: Mapping[str, Any]) -> list[Claim]:
    """Nobody holds anybody up."""
    ratio = result["with_bad_s"] / result["without_bad_s"]
    return [Claim("neighbours", "time of the good sites among bad ones, times that without them", ratio, 1.1)]


def section(result: Mapping[str, Any]) -> str:
    """What the bad ones did, and both times."""
    rounds = ", ".join(f"{among / alone:.2f}" for among, alone in result["rounds"])
    return f"""\
## A batch with bad neighbours

{result["batch"]} sites in one claim: {result["black_holes"]} black holes, {result["hanging"]} that hang (before or \
after the login) and {result["dying"]} that die in the
middle of the task. The other {result["good"]} were all done after {result["with_bad_s"]:.1f} s; claimed by themselves \
they take {result["without_bad_s"]:.1f} s (medians; times as long
in each of the rounds: {rounds}). Real sshd and real Ansible; the work of a node is to wait {result["work_s"]:.0f} s.
"""


def draw(result: Mapping[str, Any]) -> None:
    """Nothing: two numbers need no picture."""
