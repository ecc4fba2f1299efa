"""The files of a hop: binary, image archives, configuration and marker, to the new version and back."""

from __future__ import annotations

import hashlib
import os
from typing import Any

from ansible_collections.edgemgr.edge.plugins.module_utils import k3s_unit, layout, marker
from ansible_collections.edgemgr.edge.plugins.module_utils.activation_plan import Hop
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import EdgeError
from ansible_collections.edgemgr.edge.plugins.module_utils.safe_files import (
    point_link,
    read_or_none,
    remove,
    sha256_of,
    sync_directory,
)
from ansible_collections.edgemgr.edge.plugins.module_utils.wanted import WantedFile, WantedText


def present() -> dict[str, Any]:
    """What of a release is in its place now: the link's target, our archives, and the marker."""
    return {"link": os.readlink(layout.K3S), "archives": archives(), "marker": marker.read()}


def archives() -> list[str]:
    """Image archives of edgemgr where k3s imports them; those of other people are left alone."""
    names = sorted(os.listdir(layout.IMAGES_DIR)) if os.path.isdir(layout.IMAGES_DIR) else []
    return [name for name in names if name.startswith(layout.IMAGES_PREFIX)]


def rehash(hop: Hop) -> None:
    """Hash the hop's files in the content store, where they may have lain for weeks.

    Raises:
        EdgeError: one is missing or has changed.
    """
    for each in hop.artifacts:
        path = layout.cached(each["digest"])
        if not os.path.exists(path):
            hint = "Stage the bundle again."
            raise EdgeError("E-ARTIFACT-MISSING", "{0} is not in the node's store".format(each["name"]), hint)
        if sha256_of(path) != each["digest"]:
            remove(path)
            message = "{0} has changed while it lay on the node".format(each["name"])
            raise EdgeError("E-ARTIFACT-HASH", message, "Stage the bundle again; see whether the disk is failing.")


def switch(hop: Hop, before: dict[str, Any]) -> None:
    """The new binary, by rename. The marker first: whoever comes later knows whose k3s this is."""
    _mark(before["marker"], marker.INSTALLING, hop, None)
    program = layout.binary(hop.to_version)
    for artifact in hop.files("binary"):
        wanted = WantedFile(program, artifact, 0o755, program + ".edgemgr-new")
        if not wanted.is_there():
            wanted.place()
    point_link(layout.K3S, program)


def place(hop: Hop) -> None:
    """Image archives and configuration. The old archives stay until the new version is accepted."""
    for artifact in hop.files("images"):
        path = layout.images(artifact["digest"], artifact["name"])
        wanted = WantedFile(path, artifact, 0o600, layout.DATA_DIR + "/agent/edgemgr-images.new")
        if not wanted.is_there():
            wanted.place()
    if hop.config is not None:
        WantedText(layout.CONFIG, hop.config, 0o600).place()


def switch_back(before: dict[str, Any]) -> None:
    """The old binary; the archives that came with the new one go. The configuration came with the snapshot."""
    point_link(layout.K3S, before["link"])
    _remove_archives([name for name in archives() if name not in before["archives"]])
    _write(before["marker"])


def accept(hop: Hop, before: dict[str, Any]) -> None:
    """The marker tells what is installed now; archives of the old version go."""
    _mark(before["marker"], marker.INSTALLED, hop, applied_digest(hop))
    wanted = {os.path.basename(layout.images(each["digest"], each["name"])) for each in hop.files("images")}
    if wanted:
        _remove_archives([name for name in archives() if name not in wanted])


def applied_digest(hop: Hop) -> str | None:
    """What `site_plan` calls the digest of what k3s runs with; None (a later bootstrap restarts k3s) if unknown."""
    binary, images = hop.files("binary"), hop.files("images")
    config = read_or_none(layout.CONFIG)
    if len(binary) != 1 or len(images) != 1 or config is None:
        return None
    parts = (binary[0]["digest"], images[0]["digest"], config.decode(), k3s_unit.UNIT)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _mark(before: dict[str, Any], state: str, hop: Hop, applied: str | None) -> None:
    after = dict(before, state=state, version=hop.to_version, applied=applied)
    if hop.config is not None:
        after["disabled_components"] = hop.disabled_components
    _write(after)


def _write(content: dict[str, Any]) -> None:
    more = {name: value for name, value in content.items() if name not in ("state", "version")}
    marker.write(content["state"], content["version"], **more)


def _remove_archives(names: list[str]) -> None:
    for name in names:
        remove(layout.IMAGES_DIR + "/" + name)
    if names:
        sync_directory(layout.IMAGES_DIR)
