"""Bootstrap: runs the module; sends what is missing and compares the clocks where the module asks for it."""

from __future__ import annotations

import time
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.edgemgr.edge.plugins.module_utils import check, clock
from ansible_collections.edgemgr.edge.plugins.plugin_utils import access, host_arguments
from ansible_collections.edgemgr.edge.plugins.plugin_utils.transfer import Transfer, TransferFailedError


class ActionModule(ActionBase):
    """The controller's half of `edgemgr.edge.bootstrap`."""

    _requires_connection = True
    _module = "bootstrap"

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Carry out the task: one call of the module in the ordinary case, two where files are missing."""
        super().run(tmp, task_vars)
        host = task_vars or {}
        arguments = host_arguments.arguments(self._module, self._task.args, host)
        asked_at = time.time()
        result = access.execute(self, self._module, {**arguments, "asked_at": asked_at}, host)
        if not result.get("edge_pending"):
            return result
        judged = clock.check_clock(
            clock.skew_s(result["edge_clock"], asked_at, time.time()), float(arguments.get("clock_skew_s", 60))
        )
        if judged.verdict == check.BLOCKED:
            return access.refused(check.results([judged])["edge_refusals"][0])
        return self._prepared(arguments, result, host)

    def _prepared(self, arguments: dict[str, Any], first: dict[str, Any], host: dict[str, Any]) -> dict[str, Any]:
        """Send the files, then have the module go on; the result tells of both."""
        steps = list(first["edge_steps"])
        missing: list[dict[str, Any]] = []
        sent = 0
        if "files" in first["edge_pending"]:
            missing = [each for each in arguments["artifacts"] if each["digest"] in first["edge_missing"]]
            began_at = time.monotonic()
            transfer = Transfer(self, host, int(arguments["attempt"]), int(arguments.get("fence_wait_s", 60)))
            try:
                sent = transfer.bring(missing)
            except TransferFailedError as failure:
                return {**failure.result, "edge_steps": steps}
            steps.append({"step": "send", "seconds": round(time.monotonic() - began_at, 2), "changed": True})
        result = access.execute(self, self._module, {**arguments, "is_prepared": True}, host)
        changes = [f"send {each['name']}" for each in missing]
        return {
            **result,
            "changed": result.get("changed", False) or bool(changes),
            "edge_changes": changes + result.get("edge_changes", []),
            "edge_sent_bytes": sent,
            "edge_steps": steps + result.get("edge_steps", []),
        }
