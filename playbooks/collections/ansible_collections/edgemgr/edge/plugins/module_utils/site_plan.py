"""What a site's node has to look like for one k3s version: the list of things, and a digest of what k3s runs with."""

from __future__ import annotations

import hashlib
import os
from typing import Any

from ansible_collections.edgemgr.edge.plugins.module_utils import k3s_config, k3s_unit, layout
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import NEVER, EdgeError
from ansible_collections.edgemgr.edge.plugins.module_utils.k3s_version import parse
from ansible_collections.edgemgr.edge.plugins.module_utils.wanted import Wanted, WantedFile, WantedLink, WantedText


class SitePlan:
    """Everything that has to be on the node, in the order in which it is put there."""

    def __init__(self, site: str, version: str, files: list[dict[str, Any]], extra: dict[str, Any]) -> None:
        parsed = parse(version)
        if parsed is None:  # also keeps an odd text out of a path
            raise EdgeError("E-PRE-VERSION", f"{version!r} is no k3s version", "Name a release.", NEVER)
        binary = _the(files, "binary")
        archive = _the(files, "images")
        self.config = k3s_config.desired(site, parsed, extra)
        self.images_path = layout.images(archive["digest"], archive["name"])
        config_text = k3s_config.render(self.config)
        program = layout.binary(version)
        self.things: list[Wanted] = [
            WantedFile(program, binary, 0o755, program + ".edgemgr-new"),
            # k3s imports what appears in the images directory at once, so the archive is staged outside of it.
            WantedFile(self.images_path, archive, 0o600, layout.DATA_DIR + "/agent/edgemgr-images.new"),
            WantedText(layout.CONFIG, config_text, 0o600),
            WantedText(layout.UNIT_FILE, k3s_unit.UNIT, 0o644),
            WantedText(layout.KILLALL, k3s_unit.KILLALL, 0o755),
            WantedText(layout.UNINSTALL, k3s_unit.UNINSTALL, 0o755),
            WantedLink(layout.K3S, program),
        ]
        self.things.extend(
            WantedLink(layout.LINK_DIR + "/" + tool, "k3s") for tool in layout.TOOLS if not _is_taken(tool)
        )
        #: What a running k3s depends on: another digest means that it has to be restarted.
        self.digest = hashlib.sha256(
            "\n".join((binary["digest"], archive["digest"], config_text, k3s_unit.UNIT)).encode()
        ).hexdigest()

    def stale_archives(self) -> list[str]:
        """Image archives of edgemgr that belong to another version; those of other people are left alone."""
        names = sorted(os.listdir(layout.IMAGES_DIR)) if os.path.isdir(layout.IMAGES_DIR) else []
        paths = [layout.IMAGES_DIR + "/" + name for name in names if name.startswith(layout.IMAGES_PREFIX)]
        return [path for path in paths if path != self.images_path]


def _the(files: list[dict[str, Any]], part: str) -> dict[str, Any]:
    found = [each for each in files if each["part"] == part]
    if len(found) != 1:
        raise EdgeError(
            "E-PRE-ARCH",
            f"the release has {len(found)} {part} files for this node, not one",
            "Add the release's files for this architecture with `edgemgr release add`.",
            NEVER,
        )
    return found[0]


def _is_taken(tool: str) -> bool:
    """Whether somebody else's program of that name is there (or comes first: k3s' installer leaves those alone too)."""
    path = layout.LINK_DIR + "/" + tool
    return os.path.lexists(path) and not (os.path.islink(path) and os.readlink(path) == "k3s")
