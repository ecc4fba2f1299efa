"""Things that are to be on a node, each of which can tell whether it is and put itself there in one step."""

from __future__ import annotations

import os
from typing import Any, Protocol

from ansible_collections.edgemgr.edge.plugins.module_utils import layout
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import EdgeError
from ansible_collections.edgemgr.edge.plugins.module_utils.safe_files import (
    place_copy,
    point_link,
    read_or_none,
    remove,
    settle,
    sha256_of,
    write_file,
)


class Wanted(Protocol):
    """One thing that has to be on the node."""

    path: str

    def is_there(self) -> bool:
        """Whether it is as it should be."""

    def place(self) -> None:
        """Put it there in one step."""

    def diff(self) -> dict[str, Any]:
        """Before and after, for `--diff`."""


class WantedText:
    """A small file of known content."""

    def __init__(self, path: str, text: str, mode: int) -> None:
        self.path = path
        self._content = text.encode()
        self._mode = mode

    def is_there(self) -> bool:
        """Whether the content and the permissions are right."""
        return read_or_none(self.path) == self._content and os.stat(self.path).st_mode & 0o777 == self._mode

    def place(self) -> None:
        """Write it."""
        write_file(self.path, self._content, self._mode)

    def diff(self) -> dict[str, Any]:
        """Before and after, for `--diff`."""
        before = read_or_none(self.path) or b""
        return _diff(self.path, before.decode("utf-8", "replace"), self._content.decode())


class WantedLink:
    """A symbolic link."""

    def __init__(self, path: str, target: str) -> None:
        self.path = path
        self._target = target

    def is_there(self) -> bool:
        """Whether the link points where it should."""
        return os.path.islink(self.path) and os.readlink(self.path) == self._target

    def place(self) -> None:
        """Point it there."""
        point_link(self.path, self._target)

    def diff(self) -> dict[str, Any]:
        """Before and after, for `--diff`."""
        before = f"-> {os.readlink(self.path)}\n" if os.path.islink(self.path) else ""
        return _diff(self.path, before, f"-> {self._target}\n")


class WantedFile:
    """A large file that lies in the content store; it is hashed each time, as it may have lain there for weeks."""

    def __init__(self, path: str, artifact: dict[str, Any], mode: int, staging: str) -> None:
        self.path = path
        self._artifact = artifact
        self._mode = mode
        self._staging = staging

    def is_there(self) -> bool:
        """Whether the file in place has the right content."""
        try:
            status = os.stat(self.path)
        except FileNotFoundError:
            return False
        right = status.st_size == self._artifact["size_bytes"] and status.st_mode & 0o777 == self._mode
        return right and sha256_of(self.path) == self._artifact["digest"]

    def place(self) -> None:
        """Take it from the content store."""
        cached = layout.cached(self._artifact["digest"])
        if not os.path.exists(cached):
            raise EdgeError(
                "E-ARTIFACT-MISSING",
                "{0} is not in the node's store".format(self._artifact["name"]),
                "The next attempt sends it again.",
            )
        found = place_copy(cached, self.path, self._staging, self._mode)
        if found != self._artifact["digest"]:
            remove(self._staging)
            remove(cached)
            raise EdgeError(
                "E-ARTIFACT-HASH",
                "{0} has changed while it lay on the node".format(self._artifact["name"]),
                "The next attempt sends it again; if this repeats, the node's disk is failing.",
            )
        settle(self._staging, self.path)

    def diff(self) -> dict[str, Any]:
        """Before and after, for `--diff`."""
        before = "another file\n" if os.path.exists(self.path) else ""
        return _diff(self.path, before, "sha256:{0}\n".format(self._artifact["digest"]))


def _diff(path: str, before: str, after: str) -> dict[str, Any]:
    return {"before": before, "after": after, "before_header": path, "after_header": path}
