"""Where k3s is given its token from outside: it takes that at every start, so that a new one would not last.

edgemgr writes a token into none of these, and refuses one in `--config`; somebody else may have. By itself k3s keeps
its token in `server/token`, whatever it was given in the beginning.
"""

from __future__ import annotations

import os
import re

from ansible_collections.edgemgr.edge.plugins.module_utils import layout, node_facts

_COMMENT = re.compile(r"^\s*[#;].*$", re.MULTILINE)
_KEY = re.compile(r"""(?:^|[{,])\s*["']?(token|token-file)\+?["']?\s*:""", re.MULTILINE)
_VARIABLE = re.compile(r"\b(K3S_TOKEN(?:_FILE)?)\s*=")
_START = re.compile(r"^\s*ExecStart=((?:.*\\\n)*.*)", re.MULTILINE)
_ARGUMENT = re.compile(r"""(?:^|[\s"'])(--?token(?:-file)?|-t)(?=[\s="'\\]|$)""")
_ENVIRONMENT_FILE = re.compile(r"^\s*EnvironmentFile=-?(\S+)", re.MULTILINE)


def found(main_pid: int) -> list[str]:
    """Each place that gives k3s a token, as `WHAT in FILE`; `main_pid` is the running k3s, 0 when none runs."""
    places = [f"{what} in {path}" for path in _configurations() for what in _told(path, _KEY)]
    units = _units()
    for path in units:
        starts = " ".join(_told(path, _START))
        arguments = sorted(set(_ARGUMENT.findall(starts)))
        places += [f"{what} in {path}" for what in (*arguments, *_told(path, _VARIABLE))]
    places += [f"{what} in {path}" for path in _environments(units) for what in _told(path, _VARIABLE)]
    if not places and main_pid:
        names = sorted(set(_VARIABLE.findall(node_facts.text(f"/proc/{main_pid}/environ").replace("\0", "\n"))))
        places += [f"{name} in the environment of the running k3s" for name in names]
    return places


def _configurations() -> list[str]:
    directory = layout.CONFIG + ".d"
    return [layout.CONFIG, *(path for path in _within(directory) if path.endswith((".yaml", ".yml")))]


def _units() -> list[str]:
    return [layout.UNIT_FILE, *(path for path in _within(layout.UNIT_FILE + ".d") if path.endswith(".conf"))]


def _environments(units: list[str]) -> list[str]:
    """Files of variables that the service reads, and the one that k3s' own installer writes."""
    stem = layout.UNIT.partition(".")[0]
    named = [name for path in units for name in _ENVIRONMENT_FILE.findall(node_facts.text(path))]
    named = [name.replace("%N", stem).replace("%p", stem).replace("%n", layout.UNIT) for name in named]
    return sorted({layout.UNIT_FILE + ".env", *named})


def _within(directory: str) -> list[str]:
    return [directory + "/" + name for name in sorted(os.listdir(directory))] if os.path.isdir(directory) else []


def _told(path: str, pattern: re.Pattern[str]) -> list[str]:
    return sorted(set(pattern.findall(_COMMENT.sub("", node_facts.text(path)))))
