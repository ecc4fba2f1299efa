"""The script that lies on a stick: one file, the same for every order, that a person can read before running it."""

from __future__ import annotations

from pathlib import Path

from edgemgr.links import node_fence, node_files, stick_copy, stick_keys, stick_stage

SCRIPT_NAME = "stage.sh"

#: To a shell the third line is a command that does nothing, to Python the beginning of a text. Python's `-I` matters:
#: without it a file of the stick named json.py would be run in the place of Python's own.
_HEAD = """\
#!/bin/sh
# Brings this site what the work order beside this file holds for it.   sudo sh stage.sh
''':'
command -v python3 >/dev/null 2>&1 || { echo "error: this node has no python3 (3.8 or newer is needed)" >&2; exit 1; }
exec python3 -I "$0" "$@"
'''
import sys
import types


def load(name, text):
    module = sys.modules[name] = types.ModuleType(name)
    parent, _, own = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], own, module)
    exec(compile(text, name, "exec"), module.__dict__)


load("edgemgr", "")
load("edgemgr.links", "")
"""
_QUOTE = "'''"


def stage_script() -> str:
    """The text of the script."""
    parts = [_HEAD]
    for module in (node_files, node_fence, stick_keys, stick_copy, stick_stage):
        text = Path(str(module.__file__)).read_text("utf-8")
        if _QUOTE in text:
            raise RuntimeError(f"{module.__name__} cannot be put between {_QUOTE}")
        parts.append(f'\nload("{module.__name__}", r{_QUOTE}{text}{_QUOTE})\n')
    parts.append('\nsys.modules["edgemgr.links.stick_stage"].main()\n')
    return "".join(parts)
