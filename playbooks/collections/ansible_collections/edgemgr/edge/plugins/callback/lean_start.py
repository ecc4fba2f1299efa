"""Lean start: a process of Ansible begins with the modules that another has built, and leaves its own for the next.

Half a second of the controller's CPU that each process would spend again: 0.25 s to pack a module with all that it
imports, and 0.2 s in which Python's collector, at the end, looks through everything that was loaded.
"""

from __future__ import annotations

import gc
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: lean_start
type: notification
short_description: Shares built modules between processes
description:
  - Before the first task it links the built modules of E(EDGEMGR_BUILT_MODULES) to where ansible-core looks for them
    (C(ansiballz_cache) in its temporary directory); after the last one it links those that were built meanwhile back.
  - The directory holds modules of one version of the playbooks and of ansible-core, and lies on the file system of
    E(ANSIBLE_LOCAL_TEMP). Where it is not given, or is not a directory of the user's own that nobody else may write to,
    nothing is shared.
version_added: "0.1.0"
author: edgemgr
"""


class CallbackModule(CallbackBase):
    """Links, so that no process waits for another one's lock, and none sees a file that is half written."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "edgemgr.edge.lean_start"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_play_start(self, _play: Any) -> None:
        """All is loaded and nothing forked yet."""
        shared = _shared()
        if shared is not None:
            _link(shared, _own())
        gc.freeze()

    def v2_playbook_on_stats(self, _stats: Any) -> None:
        """All is done, and ansible-core's temporary directory still there."""
        shared = _shared()
        if shared is not None:
            _link(_own(), shared)


def _shared() -> Path | None:
    """Only where nobody else may write: ansible-core unpickles what lies there."""
    directory = os.environ.get("EDGEMGR_BUILT_MODULES")
    if directory:
        with suppress(OSError):
            Path(directory).mkdir(mode=0o700, exist_ok=True)
            found = Path(directory).lstat()
            if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022:
                return Path(directory)
    return None


def _own() -> Path:
    # ansible/executor/module_common.py, _find_module_utils
    return Path(constants.DEFAULT_LOCAL_TMP) / "ansiballz_cache"


def _link(source: Path, target: Path) -> None:
    with suppress(OSError):  # whatever fails, the module is built once more
        target.mkdir(mode=0o700, exist_ok=True)
        for path in source.iterdir():
            if path.suffix != ".lock" and not path.name.endswith("-part"):
                with suppress(FileExistsError):
                    os.link(path, target / path.name)
