"""What every step of an activation is given, and the three things that several of them do."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from ansible_collections.edgemgr.edge.plugins.module_utils import activation_paths, activation_snapshot
from ansible_collections.edgemgr.edge.plugins.module_utils.activation_node import Node
from ansible_collections.edgemgr.edge.plugins.module_utils.activation_plan import Hop, Plan
from ansible_collections.edgemgr.edge.plugins.module_utils.safe_files import remove, sync_directory, write_file


class Context(NamedTuple):
    """One hop of a plan on a node; `left_s` is what is left of the hop's time."""

    plan: Plan
    hop_index: int
    node: Node
    left_s: float

    @property
    def hop(self) -> Hop:
        """The hop."""
        return self.plan.hops[self.hop_index]

    @property
    def snapshot(self) -> str:
        """The directory of its snapshot."""
        return activation_paths.snapshot(self.plan.number, self.hop_index)

    @property
    def noted(self) -> str:
        """The file that tells what was ready before."""
        return activation_paths.workloads(self.plan.number, self.hop_index)

    def facts(self) -> dict[str, Any]:
        """What was noted with the snapshot."""
        return activation_snapshot.facts(self.snapshot)


def hold() -> None:
    """From here on k3s does not start: what lies in its place is about to be neither the old nor the new state."""
    if os.path.exists(activation_paths.hold()):
        return
    if os.path.exists(activation_paths.lifted_hold()):
        _rename(activation_paths.lifted_hold(), activation_paths.hold())
    else:
        write_file(activation_paths.hold(), b"an upgrade is at work\n", 0o600, 0o700)


def release() -> None:
    """Allow k3s to start again. After a power cut a hold would keep it down for ever."""
    if os.path.exists(activation_paths.hold()):
        _rename(activation_paths.hold(), activation_paths.lifted_hold())


def remove_durably(path: str) -> None:
    """Remove a file for good: after a power cut a reserve would keep its room."""
    if os.path.exists(path):
        remove(path)
        sync_directory(os.path.dirname(path))


def keep_stopped(context: Context) -> None:
    """Make sure that k3s stands still, whoever has started it meanwhile."""
    hold()
    if context.node.services.is_running():
        context.node.services.stop()


def _rename(path: str, target: str) -> None:
    os.rename(path, target)
    sync_directory(os.path.dirname(target))
