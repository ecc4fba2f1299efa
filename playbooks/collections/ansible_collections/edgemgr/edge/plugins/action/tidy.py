"""Tidy: runs the module; a node without Python or sudo is refused with a code like everywhere else."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.edgemgr.edge.plugins.plugin_utils import access, host_arguments


class ActionModule(ActionBase):
    """The controller's half of `edgemgr.edge.tidy`."""

    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Carry out the task."""
        super().run(tmp, task_vars)
        host = task_vars or {}
        return access.execute(self, "tidy", host_arguments.arguments("tidy", self._task.args, host), host)
