"""The course of an activation: from what the journal tells, what comes next. Pure.

Every process begins by asking this, so one that was killed and one that comes after a power cut know the same.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ansible_collections.edgemgr.edge.plugins.module_utils.activation_journal import BEGINS, DONE, FAILED, RESUMED
from ansible_collections.edgemgr.edge.plugins.module_utils.activation_plan import Plan

#: Until `switch` is begun nothing is changed but that k3s stands still.
BEFORE_SWITCH = ("lock", "rehash", "note-workloads", "stop", "snapshot")
FROM_SWITCH = ("switch", "place", "start", "verify", "accept")
ROLL_BACK = ("rollback-stop", "kill-containers", "restore", "switch-back", "rollback-start", "rollback-verify")
#: When nothing was changed there is nothing to restore: only k3s may stand still.
START_AGAIN = ("rollback-start", "rollback-verify")
RESTART_OLD = "restart-old"
GIVE_UP = "give-up"
VERDICT = "verdict"

ACCEPTED = "accepted"
ROLLED_BACK = "rolled_back"
NEEDS_HANDS = "needs_hands"
REFUSED = "refused"

MAX_INTERRUPTIONS = 3
TRIES = 3
TRIES_OF = {"rollback-verify": 1}  # it waits long enough by itself


class Move(NamedTuple):
    """What comes next: the step of a hop, or the verdict. `left_s` is what is left of the hop's time."""

    hop: int
    step: str
    left_s: float = float("inf")
    verdict: str = ""
    why: str = ""
    restores: bool = False


def next_move(plan: Plan, events: list[dict[str, Any]], boot: str, up: float) -> Move | None:
    """The next move; None when the verdict is already in the journal. `boot` and `up` are the clock's."""
    if any(each["step"] == VERDICT for each in events):
        return None
    hop = hop_at_hand(events)
    if hop == len(plan.hops):
        return Move(hop - 1, VERDICT, verdict=ACCEPTED)
    own = [each for each in events if each["hop"] == hop]
    for index, each in enumerate(own):
        if each["step"] == GIVE_UP:
            return _back(hop, each, own[: index + 1], own[index + 1 :])
    return _forward(plan, hop, own, boot, up)


def hop_at_hand(events: list[dict[str, Any]]) -> int:
    """How many hops are accepted: the number of the one at hand."""
    return sum(_is_done(each, "accept") for each in events)


def spent_s(events: list[dict[str, Any]], boot: str, up: float) -> float:
    """For how long the node has been running since the first of these events, over all boots.

    The time of day may be set meanwhile, and the time since the boot begins anew with each: each boot counts for
    itself, from its first event (what a container is told goes on over its boots). What passes while the power is off
    does not count, nor do the seconds until the program is started again.
    """
    first: dict[str, float] = {}
    last: dict[str, float] = {}
    for each in events:
        first.setdefault(each["boot"], each["up"])
        last[each["boot"]] = max(each["up"], last.get(each["boot"], 0.0))
    if boot in first:
        last[boot] = max(up, last[boot])
    return sum(last[each] - first[each] for each in first)


def _forward(plan: Plan, hop: int, own: list[dict[str, Any]], boot: str, up: float) -> Move:
    if any(_is_done(each, "verify") for each in own):
        return _accepting(hop, own)
    left_s = plan.deadline_s - spent_s(own, boot, up)
    interruptions = sum(each["event"] == RESUMED for each in own)
    failures = [each for each in own if each["event"] == FAILED]
    why = ""
    if failures:
        why = failures[0]["why"]
    elif left_s <= 0:
        why = f"it was not finished within {plan.deadline_s:.0f} s"
    elif interruptions > MAX_INTERRUPTIONS:
        why = f"it was interrupted {interruptions} times"
    if why:
        return Move(hop, GIVE_UP, why=why, restores=_has_begun(own, "switch"))
    if _has_begun(own, "switch"):
        return Move(hop, next(step for step in FROM_SWITCH if not _any_done(own, step)), left_s)
    resumed = [index for index, each in enumerate(own) if each["event"] == RESUMED]
    this_try = own[resumed[-1] :] if resumed else own
    if resumed and _has_begun(own, "stop") and not _any_done(this_try, RESTART_OLD):
        return Move(hop, RESTART_OLD, left_s)
    steps = (*BEFORE_SWITCH, "switch")
    return Move(hop, next(step for step in steps if not _any_done(this_try, step)), left_s)


def _accepting(hop: int, own: list[dict[str, Any]]) -> Move:
    """Verified is verified: from here on there is no way back, and no hurry."""
    failures = [each for each in own if (each["step"], each["event"]) == ("accept", FAILED)]
    if len(failures) >= TRIES:
        return Move(hop, VERDICT, verdict=NEEDS_HANDS, why="the new version runs, but: " + failures[-1]["why"])
    return Move(hop, "accept")


def _back(hop: int, gave_up: dict[str, Any], until: list[dict[str, Any]], since: list[dict[str, Any]]) -> Move:
    if not _has_begun(until, "stop"):
        return Move(hop, VERDICT, verdict=REFUSED, why=gave_up["why"])
    for step in ROLL_BACK if gave_up["restores"] else START_AGAIN:
        if _any_done(since, step):
            continue
        failures = [each for each in since if each["step"] == step and each["event"] == FAILED]
        if len(failures) >= TRIES_OF.get(step, TRIES):
            why = "{0}; going back failed at {1}: {2}".format(gave_up["why"], step, failures[-1]["why"])
            return Move(hop, VERDICT, verdict=NEEDS_HANDS, why=why)
        return Move(hop, step)
    return Move(hop, VERDICT, verdict=ROLLED_BACK, why=gave_up["why"])


def _has_begun(events: list[dict[str, Any]], step: str) -> bool:
    return any(each["step"] == step and each["event"] == BEGINS for each in events)


def _any_done(events: list[dict[str, Any]], step: str) -> bool:
    return any(_is_done(each, step) for each in events)


def _is_done(event: dict[str, Any], step: str) -> bool:
    return bool(event["step"] == step and event["event"] == DONE)
