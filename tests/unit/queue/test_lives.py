"""Which sites need no further sign of life."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgemgr.model.target import Target
from edgemgr.queue.lives import HOLDS_S, Lives

SITE = Target(1, "site-1", "192.0.2.1", 22, "edge", "ssh-ed25519 AAAA")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def heard(*targets: Target, clock: Clock | None = None) -> Lives:
    lives = Lives(clock or Clock())
    for target in targets:
        lives.note(replace(target, answers_in_s=0.25))
    return lives


def test_a_word_counts_for_one_further_attempt_and_no_more() -> None:
    lives = heard(SITE)
    assert lives.recall(SITE) == replace(SITE, answers_in_s=0.25)
    assert lives.recall(SITE) is None


def test_a_word_counts_for_a_while() -> None:
    clock = Clock()
    lives = heard(SITE, clock=clock)
    clock.now = HOLDS_S
    assert lives.recall(SITE) is None


@pytest.mark.parametrize(
    "other",
    [
        replace(SITE, site_id=2),
        replace(SITE, address="192.0.2.2"),
        replace(SITE, port=23),
        replace(SITE, host_key="ssh-rsa B"),
    ],
)
def test_it_counts_for_that_host_at_that_address_alone(other: Target) -> None:
    assert heard(SITE).recall(other) is None


def test_a_site_that_nobody_has_asked_is_not_noted() -> None:
    lives = Lives(Clock())
    lives.note(SITE)
    assert lives.recall(SITE) is None


def test_what_counts_no_more_is_forgotten_when_others_are_noted() -> None:
    clock = Clock()
    lives = heard(SITE, replace(SITE, site_id=2), clock=clock)
    clock.now = HOLDS_S - 1
    lives.note(replace(SITE, site_id=1, answers_in_s=0.5))
    clock.now = HOLDS_S
    lives.note(replace(SITE, site_id=3, answers_in_s=0.5))
    assert sorted(door[0] for door in lives._heard) == [1, 3]
