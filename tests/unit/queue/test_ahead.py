"""Places ahead of the forks, and which sites hold none of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from edgemgr.model.attempt import Attempt, AttemptResult, Outcome
from edgemgr.model.bundle_name import BundleName
from edgemgr.model.operation import Operation, OperationKind
from edgemgr.model.target import Target
from edgemgr.queue import work
from edgemgr.queue.ahead import ALWAYS, GROUP_LEAST, Ahead
from edgemgr.queue.staging_ahead import Begun
from edgemgr.store.claim import Claimed

TARGET = Target(1, "s1", "192.0.2.1", 22, "root", "key", answers_in_s=0.1)
CANCELED = AttemptResult(Outcome.CANCELED)


@pytest.fixture
def full() -> Iterator[tuple[Ahead, Ahead]]:
    """A claim that holds the whole room, and one that has nothing left but its own places, all taken."""
    with Ahead(1) as many, Ahead(1) as other:
        for _ in range(ALWAYS + GROUP_LEAST):
            many.take()
        for _ in range(ALWAYS):
            other.take()
        yield many, other


def started(action: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=action, daemon=True)
    thread.start()
    return thread


def test_a_place_that_is_left_is_another_claims_and_is_waited_for_afterwards(full: tuple[Ahead, Ahead]) -> None:
    many, other = full
    left, go_on = threading.Event(), threading.Event()

    def bring() -> None:
        with many.left():
            left.set()
            go_on.wait(10)

    bringing = started(bring)
    assert left.wait(10)
    other.take()  # waits for ever, were the place still held
    go_on.set()
    bringing.join(0.05)
    assert bringing.is_alive(), "the room is full again"
    other.give_back()
    bringing.join(10)
    assert not bringing.is_alive()


def test_a_place_that_was_left_is_taken_again_after_a_fault(full: tuple[Ahead, Ahead]) -> None:
    many, other = full
    with pytest.raises(ConnectionError), many.left():
        raise ConnectionError
    taking = started(other.take)
    taking.join(0.05)
    assert taking.is_alive(), "the room is as full as before"
    many.give_back()
    taking.join(10)
    assert not taking.is_alive()


class Entered(SimpleNamespace):
    """A carrier of one operation, and what it did on its way into the site."""

    carrier: work.Carrier
    item: Claimed
    steps: list[str]
    settled: dict[int, AttemptResult]


@pytest.fixture
def entering(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Entered]:
    def entering(kind: OperationKind, *, rest: Begun | None, ends: AttemptResult | None = None) -> Entered:
        steps: list[str] = []

        class Told(Ahead):
            @contextmanager
            def left(self) -> Iterator[None]:
                steps.append("left")
                with super().left():
                    yield
                steps.append("taken again")

        def looked(_errand: object) -> Begun | None:
            steps.append("looked")
            return rest

        def brought(_errand: object, _rest: Begun, **_within: float) -> AttemptResult | None:
            steps.append("brought")
            return ends

        monkeypatch.setattr(work, "Ahead", Told)
        monkeypatch.setattr(work, "open_target", lambda *_: TARGET)
        monkeypatch.setattr(work, "begun", looked)
        monkeypatch.setattr(work, "bring_rest", brought)
        monkeypatch.setattr(work, "bring_backup", lambda errand, **within: brought(errand, REST, **within))
        operation = Operation(id=1, site_id=1, kind=kind.value, params={"version": "v1.34.1+k3s1"})
        attempt = Attempt(id=7, operation_id=1, number=1, worker_id="w", batch="b")
        item, settled = Claimed(operation, attempt, "s1"), dict[int, AttemptResult]()
        told: Any = SimpleNamespace(forks=1, connect_timeout_s=1.0)
        carrier = work.Carrier(
            told, told, told, [item], settle=settled.__setitem__, is_canceled=lambda _attempt_id: False
        )
        return Entered(carrier=carrier, item=item, steps=steps, settled=settled)

    return entering


REST = Begun(BundleName("retail", "stable", 1), frozenset({"a" * 64}))


@pytest.mark.parametrize(
    ("kind", "rest", "steps"),
    [
        (OperationKind.BOOTSTRAP, None, ["looked"]),
        (OperationKind.BOOTSTRAP, REST, ["looked", "left", "brought", "taken again"]),
        (OperationKind.VERIFY, REST, []),
        (OperationKind.STAGE, REST, []),
        (OperationKind.BACKUP, REST, []),
        (OperationKind.RESTORE, None, ["left", "brought", "taken again"]),
    ],
)
def test_a_place_is_left_only_where_something_is_brought_before_the_playbook(
    entering: Callable[..., Entered], kind: OperationKind, rest: Begun | None, steps: list[str]
) -> None:
    entered = entering(kind, rest=rest)
    assert entered.carrier._enter(entered.item) is TARGET
    assert (entered.steps, entered.settled) == (steps, {})


def test_a_bootstrap_whose_rest_did_not_come_is_settled_and_not_carried_on(entering: Callable[..., Entered]) -> None:
    entered = entering(OperationKind.BOOTSTRAP, rest=REST, ends=CANCELED)
    assert entered.carrier._enter(entered.item) is None
    assert entered.settled == {7: CANCELED}
