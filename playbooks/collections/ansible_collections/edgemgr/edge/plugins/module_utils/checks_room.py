"""Rules about room: do the files fit, with something left over? Pure: facts in, checks out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ansible_collections.edgemgr.edge.plugins.module_utils import layout
from ansible_collections.edgemgr.edge.plugins.module_utils.check import Check, blocked, passed, warned

MIB = 1024 * 1024
MIN_INODES = 20000  # unpacked images are many small files

#: What a file becomes once k3s has unpacked it, as a multiple of its size. Generous estimates: the binary is a packed
#: archive of programs, and images are kept twice (content store and unpacked layers).
UNPACKED_BINARY = 4
UNPACKED_COMPRESSED_IMAGES = 4
UNPACKED_PLAIN_IMAGES = 2


def needed_bytes(
    files: list[dict[str, Any]], missing: set[str], installed: bool, devices: dict[str, int]
) -> dict[int, int]:
    """How many bytes each file system will take: device → bytes.

    `files` are the artifacts for this node, `missing` the digests that still have to come, `installed` tells that
    this version is already in place. `devices` names the file system of each directory.
    """
    cache, programs, data = (devices[path] for path in (layout.CACHE_DIR, layout.PROGRAM_DIR, layout.RANCHER_DIR))
    need = dict.fromkeys((cache, programs, data), 0)
    for each in files:
        size = each["size_bytes"]
        if each["digest"] in missing:
            need[cache] += size
        if installed:
            continue
        if each["part"] == "binary":
            need[programs] += size if programs != cache else 0
            need[data] += size * UNPACKED_BINARY
        else:
            plain = each["name"].endswith(".tar")
            need[data] += size if data != cache else 0
            need[data] += size * (UNPACKED_PLAIN_IMAGES if plain else UNPACKED_COMPRESSED_IMAGES)
    return need


def check_room(
    file_systems: dict[str, dict[str, Any]], need: dict[int, int], installed: bool, min_free_mib: int
) -> list[Check]:
    """Checks of disk and inodes; `file_systems` maps a directory to its facts."""
    checks: list[Check] = []
    by_device: dict[int, tuple[str, dict[str, Any]]] = {}
    for path, facts in sorted(file_systems.items()):
        by_device.setdefault(facts["device"], (path, facts))
        checks.extend(_nature(path, facts))
    for device, (path, facts) in by_device.items():
        checks.append(_bytes(path, facts, need.get(device, 0), installed, min_free_mib))
        checks.append(_inodes(path, facts, installed))
    return checks


def _nature(path: str, facts: dict[str, Any]) -> Iterator[Check]:
    if facts["read_only"]:
        hint = "Mount it writable."
        yield blocked("disk", "E-PRE-DISK", f"{path} lies on a read-only file system", hint)
    elif facts["no_exec"] and path != layout.CACHE_DIR:
        hint = "Mount it without `noexec`: k3s runs programs from there."
        yield blocked("disk", "E-PRE-DISK", f"{path} is mounted with noexec", hint)


def _bytes(path: str, facts: dict[str, Any], need: int, installed: bool, min_free_mib: int) -> Check:
    free_mib, need_mib = facts["free_bytes"] // MIB, -(-need // MIB)
    if free_mib >= need_mib + min_free_mib:
        return passed("disk", f"{path}: {free_mib} MiB free, {need_mib} MiB needed")
    message = f"{path} has {free_mib} MiB free; {need_mib} MiB are needed and {min_free_mib} MiB have to stay free"
    if installed and need == 0:
        return warned("disk", message)
    return blocked("disk", "E-PRE-DISK", message, "Free some room on the node, or give it a larger disk.")


def _inodes(path: str, facts: dict[str, Any], installed: bool) -> Check:
    # Some file systems (btrfs) have no fixed number and say 0.
    if facts["inodes"] == 0 or facts["inodes_free"] >= MIN_INODES:
        return passed("inodes", f"{path}: enough")
    message = "{0} has {1} inodes free, {2} are needed".format(path, facts["inodes_free"], MIN_INODES)
    if installed:
        return warned("inodes", message)
    return blocked(
        "inodes", "E-PRE-INODES", message, "Remove many small files, or make a file system with more inodes."
    )
