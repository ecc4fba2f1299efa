"""Rotate the token: runs the module; a node without Python or sudo is refused with a code like everywhere else."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.edgemgr.edge.plugins.plugin_utils import access, host_arguments


class ActionModule(ActionBase):
    """The controller's half of `edgemgr.edge.rotate_token`."""

    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Carry out the task."""
        super().run(tmp, task_vars)
        host = task_vars or {}
        arguments = host_arguments.arguments("rotate_token", self._task.args, host)
        return access.execute(self, "rotate_token", arguments, host)
