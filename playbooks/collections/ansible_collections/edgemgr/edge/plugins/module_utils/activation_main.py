"""The activation program: `run` carries out the plan, `resume` goes on with one that was cut off. Once is enough.

It needs no link and nobody: systemd starts it again when it is killed, and its own service after a reboot.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

from ansible_collections.edgemgr.edge.plugins.module_utils import activation_run, activation_state, fence
from ansible_collections.edgemgr.edge.plugins.module_utils.activation_cluster import LocalCluster
from ansible_collections.edgemgr.edge.plugins.module_utils.activation_journal import FAILED, Journal
from ansible_collections.edgemgr.edge.plugins.module_utils.activation_node import Clock, Node, Services
from ansible_collections.edgemgr.edge.plugins.module_utils.activation_plan import Plan
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import EdgeError

RESUME = "resume"
EXIT_ENDED = 75  # systemd takes an end by SIGTERM for a wanted one and would not start the program again
WAIT_ALONE_S = 10.0  # somebody may just be asking for the state, which takes the lock for a moment
FENCE_WAIT_S = 120.0
PAUSE_S = 1.0


def main(arguments: list[str]) -> int:
    """The exit status: 0 unless the program has to be started again."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: os._exit(EXIT_ENDED))
    carry_out(is_resumed=arguments[1:] == [RESUME], node=Node(Clock(), Services(), LocalCluster()))
    return 0


def carry_out(is_resumed: bool, node: Node) -> None:
    """Carry out the plan, if there is one without a verdict and nobody else is at it."""
    if not activation_state.is_unfinished():
        return
    tries = int(WAIT_ALONE_S / PAUSE_S)
    for _ in range(tries):
        with activation_state.alone() as is_alone:
            plan = activation_state.plan() if is_alone else None
            if plan is not None:
                _alone(plan, is_resumed, node)
                return
        node.clock.sleep(PAUSE_S)


def _alone(plan: Plan, is_resumed: bool, node: Node) -> None:
    journal = Journal(plan.number, node.clock)
    if is_resumed and not journal.events:
        # The command to start it never came, so nobody wants it now, at whatever hour this boot is.
        journal.note(0, "lock", FAILED, why="the node was rebooted before the upgrade was started")
    if journal.events:
        with _fence_at_any_price(plan, node):
            activation_run.run(plan, journal, node)
        return
    try:
        with fence.hold(plan.number, FENCE_WAIT_S, lives_on=True):
            activation_run.run(plan, journal, node)
    except (EdgeError, OSError) as exc:
        if journal.events:
            raise
        # A newer attempt was here, or another is still at work: nothing was begun, so nothing has to be undone.
        journal.note(0, "lock", FAILED, why=str(exc))
        activation_run.run(plan, journal, node)


@contextlib.contextmanager
def _fence_at_any_price(plan: Plan, node: Node) -> Iterator[None]:
    """The fence for work that has to be finished, also when a newer attempt has been here since."""
    with contextlib.ExitStack() as stack:
        while True:
            try:
                number = max(plan.number, fence.recorded_attempt())
                stack.enter_context(fence.hold(number, FENCE_WAIT_S, lives_on=True))
            except EdgeError as exc:
                if exc.code == "E-FENCE-DAMAGED":
                    break  # nobody else passes it either
                node.clock.sleep(PAUSE_S)
            else:
                break
        yield
