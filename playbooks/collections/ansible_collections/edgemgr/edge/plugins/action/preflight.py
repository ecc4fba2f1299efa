"""Preflight: runs the module, adds the comparison of clocks, and turns refusals into one failed result."""

from __future__ import annotations

import time
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.edgemgr.edge.plugins.plugin_utils import access, clock


class ActionModule(ActionBase):
    """The controller's half of `edgemgr.edge.preflight`."""

    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Carry out the task."""
        super().run(tmp, task_vars)
        arguments = self._task.args
        asked_at = time.time()
        result = access.execute(self, "preflight", arguments, task_vars or {})
        answered_at = time.time()
        if "edge_clock" in result and arguments.get("intent", "bootstrap") == "bootstrap":
            limit_s = float(arguments.get("clock_skew_s", 60))
            clock.add_to(result, result["edge_clock"], asked_at, answered_at, limit_s)
        refusals = result.get("edge_refusals")
        if refusals:
            first = refusals[0]
            result.update(
                failed=True, msg=first["message"], edge_code=first["code"], edge_hint=first["hint"], edge_retry="never"
            )
        return result
