"""Carry a plan to its verdict, from wherever the journal says that it stands."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.edgemgr.edge.plugins.module_utils import (
    activation_back,
    activation_course,
    activation_forward,
    activation_paths,
    activation_state,
    layout,
    node_facts,
)
from ansible_collections.edgemgr.edge.plugins.module_utils.activation_context import Context, remove_durably
from ansible_collections.edgemgr.edge.plugins.module_utils.activation_course import GIVE_UP, VERDICT, Move
from ansible_collections.edgemgr.edge.plugins.module_utils.activation_journal import (
    BEGINS,
    DONE,
    FAILED,
    RESUMED,
    Journal,
)
from ansible_collections.edgemgr.edge.plugins.module_utils.activation_node import Node
from ansible_collections.edgemgr.edge.plugins.module_utils.activation_plan import Hop, Plan
from ansible_collections.edgemgr.edge.plugins.module_utils.safe_files import write_file

PAUSE_S = 5.0
FULL_BYTES = 4 * 1024 * 1024
STEPS = {**activation_forward.STEPS, **activation_back.STEPS}


def run(plan: Plan, journal: Journal, node: Node) -> dict[str, Any]:
    """Go on until there is a verdict, and return it. Whoever calls holds the locks."""
    events = journal.events
    if events and events[-1]["step"] != VERDICT:
        journal.note(activation_course.hop_at_hand(events), events[-1]["step"], RESUMED)
    while True:
        move = activation_course.next_move(plan, events, *node.clock.boot())
        if move is None:
            break
        if move.step == VERDICT:
            journal.note(move.hop, VERDICT, DONE, verdict=move.verdict, why=move.why)
        elif move.step == GIVE_UP:
            journal.note(move.hop, GIVE_UP, DONE, why=move.why, restores=move.restores)
        else:
            _carry_out(move, plan, journal, node)
    return _conclude(plan, events)


def _carry_out(move: Move, plan: Plan, journal: Journal, node: Node) -> None:
    if journal.events and (journal.events[-1]["step"], journal.events[-1]["event"]) == (move.step, FAILED):
        node.clock.sleep(PAUSE_S)
    journal.note(move.hop, move.step, BEGINS)
    try:
        with node.clock.dead_man(move.left_s):
            found = STEPS[move.step](Context(plan, move.hop, node, move.left_s))
    except Exception as exc:  # noqa: BLE001  (whatever it is, a fault of ours too, the site has to come back)
        journal.note(move.hop, move.step, FAILED, why=_why(exc))
    else:
        journal.note(move.hop, move.step, DONE, **(found or {}))


def _why(exc: Exception) -> str:
    """The sentence. What goes wrong on a full disk seldom says so itself."""
    why = str(exc) or type(exc).__name__
    try:
        is_full = node_facts.file_system(layout.DATA_DIR)["free_bytes"] < FULL_BYTES
    except OSError:
        is_full = False
    return f"the node's disk is full; {why}" if is_full else why


def _conclude(plan: Plan, events: list[dict[str, Any]]) -> dict[str, Any]:
    """Write the verdict for whoever asks, once; a process that was killed before this has left it in the journal."""
    known = activation_state.verdict(plan.number)
    if known is not None:
        return known
    last = next(each for each in events if each["step"] == VERDICT)
    accepted = activation_course.hop_at_hand(events)
    hops = [_ended(hop, activation_course.ACCEPTED, "") for hop in plan.hops[:accepted]]
    version = plan.hops[accepted - 1].to_version if accepted else plan.hops[0].from_version
    if last["verdict"] != activation_course.ACCEPTED:
        hops.append(_ended(plan.hops[last["hop"]], last["verdict"], last["why"]))
    verdict = {
        "id": plan.number,
        "operation": plan.operation,
        "verdict": last["verdict"],
        "why": last["why"],
        "version": "" if last["verdict"] == activation_course.NEEDS_HANDS else version,
        "hops": hops,
        "at": last["at"],
        "snapshot": activation_paths.snapshot(plan.number, last["hop"]),
    }
    for path in (activation_paths.journal_reserve(), activation_paths.restore_reserve()):
        remove_durably(path)
    write_file(activation_paths.verdict(), json.dumps(verdict, indent=1, sort_keys=True).encode() + b"\n", 0o600, 0o700)
    return verdict


def _ended(hop: Hop, verdict: str, why: str) -> dict[str, str]:
    return {"from_version": hop.from_version, "to_version": hop.to_version, "verdict": verdict, "why": why}
