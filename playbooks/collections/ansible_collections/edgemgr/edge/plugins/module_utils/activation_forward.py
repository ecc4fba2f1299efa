"""The steps of a hop. Each may be cut off anywhere and done again."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from ansible_collections.edgemgr.edge.plugins.module_utils import (
    activation_context,
    activation_paths,
    activation_release,
    activation_snapshot,
    activation_verify,
    layout,
    marker,
)
from ansible_collections.edgemgr.edge.plugins.module_utils.activation_context import Context
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import NEVER, EdgeError
from ansible_collections.edgemgr.edge.plugins.module_utils.safe_files import make_directory, sync_directory

#: Beside the snapshot's own size: what k3s writes while it starts, on a disk that the new version has filled.
RESTORE_MARGIN_BYTES = 32 * 1024 * 1024
JOURNAL_RESERVE_BYTES = 256 * 1024


def lock(context: Context) -> None:
    """The node is what the plan takes it for, and its state can be exchanged. (The locks are held by the process.)"""
    hop = context.hop
    installed = marker.read()
    if installed is None or (installed["state"], installed["version"]) != (marker.INSTALLED, hop.from_version):
        found = "no k3s of edgemgr" if installed is None else "{version} ({state})".format(**installed)
        raise _refusal(f"the plan begins at {hop.from_version}, the node has {found}")
    if not os.path.islink(layout.K3S) or os.readlink(layout.K3S) != layout.binary(hop.from_version):
        raise _refusal(f"{layout.K3S} is not the k3s {hop.from_version} that edgemgr has placed")
    unmovable = activation_snapshot.unmovable()
    if unmovable:
        raise _refusal("a way back would have to replace {0}, a mount or a link".format(" and ".join(unmovable)))
    make_directory(activation_paths.directory(), 0o700)
    _reserve(activation_paths.journal_reserve(), JOURNAL_RESERVE_BYTES)


def rehash(context: Context) -> None:
    """The files are whole."""
    activation_release.rehash(context.hop)


def note_workloads(context: Context) -> None:
    """What is ready before."""
    activation_verify.note_before(context)


def restart_old(context: Context) -> None:
    """After an interruption: the old version runs again before anything else, as nothing was changed yet."""
    activation_context.release()
    context.node.services.start(min(context.plan.start_timeout_s, context.left_s))


def stop(context: Context) -> None:
    """k3s stops; the containers go on."""
    context.node.services.stop()


def snapshot(context: Context) -> dict[str, Any]:
    """Copy the state, keep room for the way back, and keep k3s from starting on what comes next."""
    activation_snapshot.drop_evidence()
    _drop_snapshots(keep=(context.snapshot, _newest(context.snapshot)))
    size_bytes = activation_snapshot.take(context.snapshot, activation_release.present())
    _reserve(activation_paths.restore_reserve(), size_bytes + RESTORE_MARGIN_BYTES)
    activation_context.hold()
    return {"bytes": size_bytes}


def switch(context: Context) -> None:
    """The new binary takes the old one's place."""
    activation_context.keep_stopped(context)
    activation_release.switch(context.hop, context.facts())


def place(context: Context) -> None:
    """Archives and configuration."""
    activation_context.keep_stopped(context)
    activation_release.place(context.hop)


def start(context: Context) -> None:
    """The new version starts."""
    activation_context.release()
    context.node.services.start(min(context.plan.start_timeout_s, context.left_s))


def verify(context: Context) -> dict[str, Any]:
    """All is as well as before."""
    return activation_verify.await_health(context, context.hop.to_version, is_back=False)


def accept(context: Context) -> None:
    """The new state is the state. Binary and snapshot of the one before stay until the next hop is accepted."""
    activation_release.accept(context.hop, context.facts())
    with contextlib.suppress(OSError):  # room that could not be given back is no reason to doubt the version
        activation_context.remove_durably(activation_paths.restore_reserve())
        activation_snapshot.drop_evidence()
        _drop_snapshots(keep=(context.snapshot,))


STEPS = {
    "lock": lock,
    "rehash": rehash,
    "note-workloads": note_workloads,
    "restart-old": restart_old,
    "stop": stop,
    "snapshot": snapshot,
    "switch": switch,
    "place": place,
    "start": start,
    "verify": verify,
    "accept": accept,
}


def _reserve(path: str, size_bytes: int) -> None:
    """Take room on a disk, to be given back when it is needed."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, size_bytes)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_directory(os.path.dirname(path))


def _newest(but: str) -> str:
    """The newest snapshot other than this one: that of the last upgrade."""
    others = [path for path in _snapshots() if path != but]
    return max(others, key=os.path.getmtime) if others else ""


def _drop_snapshots(keep: tuple[str, ...]) -> None:
    for path in _snapshots():
        if path not in keep:
            activation_snapshot.remove_tree(path)


def _snapshots() -> list[str]:
    top = activation_paths.snapshots()
    return [top + "/" + name for name in sorted(os.listdir(top))] if os.path.isdir(top) else []


def _refusal(message: str) -> EdgeError:
    return EdgeError("E-UPGRADE-NODE", message, "Look at the site's facts, then plan the upgrade anew.", NEVER)
