"""Which step of a token's rotation asks for which, and what its failure means."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from edgemgr.model.operation import OperationKind
from edgemgr.operations.registry import SPECS
from edgemgr.operations.spec import FollowUp
from edgemgr.operations.token_step import StepParams

BACKUP, PULL, ROTATE = OperationKind.BACKUP, OperationKind.PULL, OperationKind.ROTATE_TOKEN


def after(kind: OperationKind, params: dict[str, Any]) -> FollowUp | None:
    return SPECS[kind].follow_up(SPECS[kind].params.model_validate(params))


@pytest.mark.parametrize(
    ("kind", "params", "follows"),
    [
        (BACKUP, {}, FollowUp(PULL, {"token": None})),
        (PULL, {}, None),
        (BACKUP, {"token": "before"}, FollowUp(PULL, {"token": "before"}, keeps_deadline=True)),
        (PULL, {"token": "before"}, FollowUp(ROTATE, {}, keeps_deadline=True)),
        (ROTATE, {}, FollowUp(BACKUP, {"token": "after"})),
        (BACKUP, {"token": "after"}, FollowUp(PULL, {"token": "after"})),
        (PULL, {"token": "after"}, None),
    ],
)
def test_what_follows_goes_by_the_step(kind: OperationKind, params: dict[str, Any], follows: FollowUp | None) -> None:
    assert after(kind, params) == follows


def test_the_road_from_the_first_step_ends_and_every_kind_on_it_takes_what_it_is_given() -> None:
    walked: list[OperationKind] = []
    step: FollowUp | None = FollowUp(BACKUP, {"token": "before"})
    while step is not None:
        walked.append(step.kind)
        step = after(step.kind, dict(step.params))
    assert walked == [BACKUP, PULL, ROTATE, BACKUP, PULL]


def test_no_other_kind_asks_for_anything() -> None:
    others = [spec for kind, spec in SPECS.items() if kind not in (BACKUP, PULL, ROTATE)]
    assert {spec.is_step for spec in others} == {False}
    assert {spec.follow_up(spec.params.model_construct()) for spec in others} == {None}
    assert {spec.loss(spec.params.model_construct()) for spec in others} == {""}


@pytest.mark.parametrize("odd", ["later", "", 1, True])
def test_a_step_that_there_is_not_is_refused(odd: object) -> None:
    with pytest.raises(ValidationError):
        StepParams.model_validate({"token": odd})


@pytest.mark.parametrize(
    ("waiting", "newer", "stays"),
    [
        ("before", None, True),
        ("before", "after", True),
        ("before", "before", False),
        ("after", None, False),
        ("after", "before", False),
        (None, None, False),
        (None, "before", False),
    ],
)
@pytest.mark.parametrize("kind", [BACKUP, PULL])
def test_only_what_leads_on_to_the_rotation_keeps_its_place(
    kind: OperationKind, waiting: str | None, newer: str | None, *, stays: bool
) -> None:
    there, asked = StepParams.model_validate({"token": waiting}), StepParams.model_validate({"token": newer})
    assert SPECS[kind].stays(there, asked) is stays


def test_steps_of_several_sites_travel_together_and_apart_from_ordinary_backups() -> None:
    spec = SPECS[BACKUP]
    keys = {spec.batch_key(StepParams.model_validate({"token": token})) for token in (None, "before", "after", None)}
    assert len(keys) == 3


def test_what_a_failure_means_is_the_end_of_a_sentence() -> None:
    for kind in (BACKUP, PULL):
        assert SPECS[kind].loss(StepParams()) == ""
        assert SPECS[kind].loss(StepParams.model_validate({"token": "before"})) == "so the token was not rotated"
        assert SPECS[kind].loss(StepParams.model_validate({"token": "after"})).startswith("so the newest backup")
