"""An upgrade that is struck at any border of its steps ends on the new version with the new data, or on the old version
with the old data, with nobody touching it.

It is the program of the product, on sites of the lab. tests/playbooks/test_activation_matrix.py does the same in
memory, at every single change of the disk.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from itertools import cycle

import pytest
from tests_support.appliance import Appliance
from upgrade_borders import AFTER, AGAIN, BACK, FORWARD, Border, all_steps, borders
from upgrade_matrix import BAD, BAD_FAULTS, Case, Crowd, Matrix, Strike, table

from edgemgr.lab.lab import Lab

SITES = 13
#: An interruption without which nobody sees the old version started again.
STOPPED = (Border("stop", "begins", AFTER), Strike.SCRIPT)
ON_THE_NODE = (Strike.SCRIPT, Strike.LINK, Strike.REBOOT, Strike.POWER)


def every_case() -> list[Case]:
    """Each border with each strike."""
    cases = []
    for strike in Strike:
        cases += [Case(True, ((border, strike),)) for border in borders(FORWARD)]
        cases += [Case(True, (STOPPED, (border, strike))) for border in borders(AGAIN)]
        cases += [Case(False, ((border, strike),)) for border in borders(BACK)]
    return cases


def few_cases() -> list[Case]:
    """Each border once, several in one upgrade: three interruptions are as many as a hop may have before it goes back.

    The appliance is killed at the last of an upgrade only, so that it lives during the others.
    """
    forward, again, back = (borders(lines) for lines in (FORWARD, AGAIN, BACK))
    third, half = len(forward) // 3, (len(back) + 1) // 2
    strikes = (Strike.SCRIPT, Strike.LINK, Strike.POWER, Strike.LINK)
    cases = [Case(True, (STOPPED, *zip(again[:-1], strikes, strict=False), (again[-1], Strike.APPLIANCE)))]
    early, late = cycle(ON_THE_NODE), cycle(Strike)
    for number in range(third):
        chain = [forward[number], forward[number + third]]
        last = forward[number + 2 * third :: third]
        cases.append(Case(True, (*zip(chain, early, strict=False), *zip(last, late, strict=False))))
    for number in range(half):
        first, second = back[number : number + 1], back[number + half : number + half + 1]
        cases.append(Case(False, (*zip(first, early, strict=False), *zip(second, late, strict=False))))
    return cases


@pytest.fixture(scope="module")
def matrix(lab: Lab, appliance: Appliance, tmp_path_factory: pytest.TempPathFactory) -> Callable[[list[Case]], Matrix]:
    """Sites for these cases, with a bundle of as many versions as they need."""

    def make(cases: list[Case]) -> Matrix:
        appliance.environment["EDGEMGR_FORKS"] = str(SITES)  # none waits for another: a site that stands holds its own
        sites = [site.name for site in lab.up(SITES, light=True)]
        crowd = Crowd(appliance, lab, tmp_path_factory.mktemp("vendor"))
        crowd.begin(*sites)
        waves = sum(case.is_good for case in cases) // (SITES - 2) + 2
        goals = [f"v1.34.{number}+k3s1" for number in range(1, waves + 1)]
        bundle = crowd.bring(41, {goal: BAD_FAULTS if goal == BAD else {} for goal in (*goals, BAD)})
        crowd.stage(bundle, *sites)
        return Matrix(crowd, sites, bundle, goals)

    return make


def check(matrix: Matrix, cases: list[Case]) -> None:
    rows = matrix.carry_out(cases)
    sys.stdout.write(table(rows) + "\n")
    faults = [f"{row.case}: {row.fault}\n" for row in rows if row.fault]
    assert not faults, "\n".join(faults)
    assert len(rows) == len(cases)


def test_every_step_of_the_program_has_its_borders_in_the_matrix() -> None:
    wanted = all_steps()
    for cases in (every_case(), few_cases()):
        struck = [(border, strike) for case in cases for border, strike in case.strikes]
        assert {border.step for border, _ in struck} >= wanted
        assert {border for border, _ in struck} >= {*borders(FORWARD), *borders(AGAIN), *borders(BACK)}
        assert min(Counter(strike for _, strike in struck)[strike] for strike in Strike) >= 2


@pytest.mark.lab
@pytest.mark.slow
def test_struck_at_every_border_it_ends_all_the_same(matrix: Callable[[list[Case]], Matrix]) -> None:
    check(matrix(few_cases()), few_cases())


@pytest.mark.exhaustive
@pytest.mark.lab
@pytest.mark.slow
def test_struck_in_every_way_at_every_border_it_ends_all_the_same(matrix: Callable[[list[Case]], Matrix]) -> None:
    check(matrix(every_case()), every_case())
