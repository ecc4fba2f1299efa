"""Upgrade: runs the module; compares the clocks where it asks for it, like a bootstrap."""

from __future__ import annotations

from ansible_collections.edgemgr.edge.plugins.action import bootstrap


class ActionModule(bootstrap.ActionModule):
    """The controller's half of `edgemgr.edge.upgrade`. Its files were sent before: it never asks for them."""

    _module = "upgrade"
