"""What old versions of k3s have left on the node, and whether anything still runs from it.

A shim runs from the directory of the version that started its pod, until that pod ends, upgrades or not: removing it
kills pods (rke2 issue 8493, rancher-desktop 506). So a directory goes only if nothing names it: no process, by program,
mapped file or argument, no mount, no link, no configuration of containerd.
"""

from __future__ import annotations

import os
import re
import shutil

from ansible_collections.edgemgr.edge.plugins.module_utils import k3s_version, layout
from ansible_collections.edgemgr.edge.plugins.module_utils.safe_files import sync_directory

_HASH = re.compile(r"[0-9a-f]{64}")
_GONE = ".edgemgr-gone-"
#: k3s may write the place of its programs into these.
_CONFIGURATIONS = ("agent/etc/containerd/config.toml",)
_MOST_BYTES = 1 << 20


def find(proc: str = "/proc") -> tuple[list[str], list[str]]:
    """Directories of other versions: those from which nothing runs, and those that are still used."""
    found = [*_binaries(), *_unpacked()]
    named = _named(proc)
    used = [path for path in found if any((path + "/") in text for text in named)]
    return [path for path in found if path not in used], used


def remove(path: str) -> int:
    """Remove one of them; the bytes that became free. Renamed first, so that nobody finds half of one."""
    directory, name = os.path.split(path)
    if not name.startswith(_GONE):
        os.rename(path, directory + "/" + _GONE + name)
        sync_directory(directory)
        path = directory + "/" + _GONE + name
    freed = sum(_freed(os.path.join(place, each)) for place, _, names in os.walk(path) for each in names)
    shutil.rmtree(path)
    return freed


def _binaries() -> list[str]:
    """Programs of versions other than the installed one and the one before it, to which nobody may want to go back."""
    current = os.path.basename(os.path.dirname(os.path.realpath(layout.K3S)))
    now = k3s_version.parse(current)
    if now is None:  # the link leads elsewhere: nothing is known
        return []
    others = {name: k3s_version.parse(name) for name in _names(layout.BINARY_DIR) if name != current}
    older = sorted((version, name) for name, version in others.items() if version is not None and version < now)
    kept = {name for _, name in older[-1:]}
    return [
        layout.BINARY_DIR + "/" + name
        for name, version in sorted(others.items())
        if name.startswith(_GONE) or (version is not None and name not in kept)
    ]


def _unpacked() -> list[str]:
    """What k3s has unpacked of its own binaries, other than `current` and `previous`."""
    place = layout.DATA_DIR + "/data"
    if not os.path.exists(place + "/current"):
        return []
    kept = {os.path.basename(os.path.realpath(place + "/" + name)) for name in ("current", "previous")}
    return [
        place + "/" + name
        for name in _names(place)
        if (_HASH.fullmatch(name) and name not in kept) or name.startswith(_GONE)
    ]


def _named(proc: str) -> list[str]:
    """Everything that could name such a directory."""
    texts = [_text(proc + "/self/mounts"), *(_text(layout.DATA_DIR + "/" + name) for name in _CONFIGURATIONS)]
    for pid in filter(str.isdigit, _names(proc)):
        texts += [_link(f"{proc}/{pid}/exe"), _text(f"{proc}/{pid}/cmdline"), _text(f"{proc}/{pid}/maps")]
    for place in (layout.DATA_DIR + "/data", layout.DATA_DIR + "/data/cni", layout.LINK_DIR):
        texts += [_link(place + "/" + name) for name in _names(place)]
    return texts


def _names(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as handle:
            return handle.read(_MOST_BYTES)
    except OSError:  # the process has ended
        return ""


def _link(path: str) -> str:
    try:
        return os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(path))) + "/"
    except OSError:
        return ""


def _freed(path: str) -> int:
    """Nothing for a file that has another name somewhere, as binaries have in the content store."""
    status = os.lstat(path)
    return status.st_blocks * 512 if status.st_nlink == 1 else 0
