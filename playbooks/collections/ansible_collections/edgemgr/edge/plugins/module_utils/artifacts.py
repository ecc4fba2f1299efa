"""The files of a k3s release that a node needs: which ones, and what of them is already there."""

from __future__ import annotations

import os
import re
from typing import Any

from ansible_collections.edgemgr.edge.plugins.module_utils import layout
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import NEVER, EdgeError

_DIGEST = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"k3s(-[a-z0-9]+)?|k3s-airgap-images-[a-z0-9]+\.tar(\.gz|\.zst)?")

#: The argument that the modules share. `path` is the file on the controller; a node has no use for it.
OPTIONS = {
    "type": "list",
    "elements": "dict",
    "required": True,
    "options": {
        "part": {"type": "str", "required": True, "choices": ["binary", "images"]},
        "arch": {"type": "str", "required": True},
        "name": {"type": "str", "required": True},
        "digest": {"type": "str", "required": True},
        "size_bytes": {"type": "int", "required": True},
        "path": {"type": "str"},
    },
}


def refuse_odd_digest(digest: str) -> None:
    """A digest becomes a file's name, so it is nothing but 64 hex digits."""
    if not _DIGEST.fullmatch(digest):
        hint = "This is a fault of the controller: report it."
        raise EdgeError("E-ARTIFACT-NAME", f"{digest[:80]!r} is no sha256", hint, NEVER)


def one_name(arch: str) -> str:
    """One name for an architecture that k3s calls armhf for the binary and arm for the images."""
    return "armhf" if arch == "arm" else arch


def with_one_name(artifacts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same list with one name for each architecture."""
    return [dict(each, arch=one_name(each["arch"])) for each in artifacts]


def for_arch(artifacts: list[dict[str, Any]], arch: str) -> list[dict[str, Any]]:
    """The files for one architecture, with names that are safe to use on the node."""
    for each in artifacts:
        refuse_odd_digest(each["digest"])
        if not _NAME.fullmatch(each["name"]):
            hint = "Releases hold files under the names that k3s publishes."
            raise EdgeError("E-ARTIFACT-NAME", "{0!r} is no k3s file".format(each["name"][:80]), hint, NEVER)
    return [each for each in with_one_name(artifacts) if each["arch"] == arch]


def missing(files: list[dict[str, Any]]) -> list[str]:
    """The digests that the content store lacks, told by name and size; contents are hashed before they are used."""
    absent = []
    for each in files:
        try:
            size = os.stat(layout.cached(each["digest"])).st_size
        except OSError:
            size = -1
        if size != each["size_bytes"]:
            absent.append(each["digest"])
    return absent
