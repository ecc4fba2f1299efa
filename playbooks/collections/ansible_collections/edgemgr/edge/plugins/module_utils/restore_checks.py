"""Every reason against a restore, found before anything is changed."""

from __future__ import annotations

import os
from typing import Any

from ansible_collections.edgemgr.edge.plugins.module_utils import (
    activation_snapshot,
    activation_state,
    layout,
    marker,
    node_facts,
    preflight,
)
from ansible_collections.edgemgr.edge.plugins.module_utils.check import Check, blocked, passed
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import BUDGETED, EdgeError
from ansible_collections.edgemgr.edge.plugins.module_utils.restore_source import Source

#: Checks of a bootstrap that do not hold here: a restore may move to another version, brings its configuration, and
#: may be what helps a node that an upgrade, or a restore or a token's rotation that was cut off, has left half-way.
_NOT_ASKED = ("version", "config", "upgrade", "restore", "token")
_MIB = 1 << 20


def refuse_during_upgrade() -> None:
    """See that no upgrade is under way. One that needed hands has ended: a restore may be what helps.

    Raises:
        EdgeError: one is (E-RESTORE-UPGRADE).
    """
    if activation_state.is_under_way():
        raise EdgeError(
            "E-RESTORE-UPGRADE",
            "an upgrade of this node has not ended; it ends on the new version or goes back by itself",
            "Wait for its end, then restore.",
            BUDGETED,
        )


def check_restore(
    params: dict[str, Any], source: Source, files: list[dict[str, Any]], missing: list[str]
) -> list[Check]:
    """All checks but that of the clock; `files` are those of the release for this node, `missing` what it lacks."""
    skipped = _NOT_ASKED if files else (*_NOT_ASKED, "arch")
    checks = preflight.check_bootstrap(dict(params, config={}), files, missing)
    return [
        *(each for each in checks if each.check not in skipped),
        _check_backup(params, source),
        _check_version(params["version"], files),
        _check_places(),
        _check_room(source, params["min_free_mib"]),
    ]


def _check_backup(params: dict[str, Any], source: Source) -> Check:
    saved_of = str(source.manifest["site"])
    there = str((marker.read() or {}).get("site", params["site"]))
    for name, whose in ((saved_of, "the backup"), (there, "the node")):
        if name != params["site"]:
            message = "{0} belongs to site {1!r}, not to {2!r}".format(whose, name[:80], params["site"])
            return blocked("backup", "E-RESTORE-SITE", message, "See whether the address belongs to the right node.")
    if source.manifest["k3s_version"] != params["version"]:
        message = "the backup is one of {0}, not of {1}".format(source.manifest["k3s_version"], params["version"])
        return blocked("backup", "E-RESTORE-VERSION", message, "This is a fault of the controller: report it.")
    return passed("backup", "taken at {0}".format(source.manifest["taken_at"]))


def _check_version(version: str, files: list[dict[str, Any]]) -> Check:
    installed = marker.read()
    if installed is not None and installed["state"] == marker.REMOVING:
        hint = "Run the reset again, then restore."
        return blocked("version", "E-PRE-RESET", "a reset of this node was begun and not finished", hint)
    link = os.readlink(layout.K3S) if os.path.islink(layout.K3S) else ""
    if not files and not (link == layout.binary(version) and os.path.exists(link)):
        hint = f"Add k3s {version} with `edgemgr release add`, then restore."
        message = f"the node does not run {version}, and the appliance has not sent its files"
        return blocked("version", "E-RESTORE-VERSION", message, hint)
    return passed("version", version)


def _check_places() -> Check:
    fixed = activation_snapshot.unmovable()
    if fixed:
        message = "{0} is a mount or a link, so it cannot be exchanged in one step".format(" and ".join(fixed))
        return blocked("places", "E-RESTORE-PLACE", message, "Make it a plain directory, then restore.")
    return passed("places", "can be exchanged")


def _check_room(source: Source, min_free_mib: int) -> Check:
    need = source.size_bytes + source.size_bytes // 16 + _MIB
    free = node_facts.file_system(layout.DATA_DIR)["free_bytes"]
    if free < need + (min_free_mib << 20):
        message = "{0} MiB are free; the restore lays out {1} MiB, and {2} MiB are to stay free".format(
            free >> 20, -(-need >> 20), min_free_mib
        )
        return blocked("restore room", "E-RESTORE-ROOM", message, "Free some room on the node.")
    return passed("restore room", f"{free >> 20} MiB free")
