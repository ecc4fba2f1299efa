"""How quick a machine was at a time."""

from __future__ import annotations

import time

import pytest
from machine_speed import SAMPLE_S, WINDOW_S, FaultCosts, Speedometer


def test_the_cost_at_a_time_is_that_of_the_samples_about_it_and_one_that_stands_out_does_not_count() -> None:
    costs = FaultCosts([(second, 1.0 if second < 100 else 2.0) for second in range(0, 200, 2)])
    assert (costs.at(50), costs.at(150)) == (1.0, 2.0)
    odd = FaultCosts([(0, 1.0), (2, 9.0), (4, 1.0)])
    assert odd.at(2) == 1.0


def test_before_the_first_sample_and_after_the_last_the_nearest_ones_count() -> None:
    costs = FaultCosts([(10, 1.0), (10 + 3 * WINDOW_S, 2.0)])
    assert (costs.at(0), costs.at(1000)) == (1.0, 2.0)


def test_the_cost_over_a_time_leaves_out_what_was_before_and_after() -> None:
    assert FaultCosts([(0, 9.0), (10, 1.0), (20, 1.0), (30, 9.0)]).over(5, 25) == 1.0


def test_a_fault_costs_something_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("machine_speed.SAMPLE_S", SAMPLE_S / 100)
    with Speedometer(time.monotonic()) as speedometer:
        while not speedometer.costs.samples:
            pass
    when_s, cost = speedometer.costs.samples[0]
    assert 0 < when_s < 60
    assert 0 < cost < 1000
