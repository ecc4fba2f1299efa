"""Restore: runs the module; sends the files of k3s and compares the clocks where it asks for it, like a bootstrap."""

from __future__ import annotations

from ansible_collections.edgemgr.edge.plugins.action import bootstrap


class ActionModule(bootstrap.ActionModule):
    """The controller's half of `edgemgr.edge.restore`."""

    _module = "restore"
