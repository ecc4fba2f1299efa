"""The deploy controller: files in server/manifests are applied at start and whenever they change.

As in k3s (docs.k3s.io, packaged components): a removed file leaves its objects, NAME.yaml.skip leaves a file out,
`disable` removes a packaged component's file and its objects, and packaged files are written anew at every start.
"""

from __future__ import annotations

import contextlib
import json

from .built import VERSION
from .journal import log
from .kinds import by_object
from .packaged import COMPONENTS, chart_objects, manifests
from .resources import APPLY, ApiError, Resources, Target
from .yaml_subset import YamlError, documents

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any


class Manifests:
    """The files that were applied, as they were then."""

    def __init__(self, directory: Path, resources: Resources, disabled: list[str]) -> None:
        self._directory = directory
        self._resources = resources
        self._disabled = disabled
        self._applied: dict[Path, tuple[int, int, int]] = {}

    def write_packaged(self) -> None:
        """Write the packaged components' files; remove those that are disabled, with their objects."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name, objects in manifests(VERSION).items():
            path = self._directory / f"{name}.yaml"
            if name not in self._disabled:
                path.write_text("---\n".join(json.dumps(value, indent=1) + "\n" for value in objects))
                continue
            path.unlink(missing_ok=True)
            for value in [*objects, *chart_objects(VERSION).get(name, [])]:
                self._remove(value)

    def apply_changed(self) -> None:
        """Apply the files that are new or changed since the last look."""
        for path in sorted(self._directory.rglob("*")):
            if path.suffix not in (".yaml", ".yml", ".json") or path.with_name(f"{path.name}.skip").exists():
                continue
            try:
                found = path.stat()
                signature = found.st_ino, found.st_size, found.st_mtime_ns
                if self._applied.get(path) != signature:
                    self._applied[path] = signature
                    self._apply(path, path.read_text("utf-8"))
            except (OSError, UnicodeDecodeError) as exc:
                log("error", f"Failed to process config: failed to process {path}: {exc}")

    def _apply(self, path: Path, text: str) -> None:
        try:
            for value in documents(text):
                if value is not None:
                    apply_object(self._resources, value)
        except (YamlError, ApiError, AttributeError, KeyError, TypeError) as exc:
            log("error", f"Failed to process config: failed to process {path}: {exc}")
        else:
            kind = "packaged component" if path.stem in COMPONENTS else "manifest"
            log("info", f"Applied {kind} {path}")

    def _remove(self, value: dict[str, Any]) -> None:
        with contextlib.suppress(ApiError):  # it was not there
            self._resources.delete(_target(value), {})


def apply_object(resources: Resources, value: dict[str, Any]) -> dict[str, Any]:
    """Make an object, or bring it to what is given.

    Raises:
        ApiError: its kind is unknown to the stand-in, or the API refuses it.
    """
    return resources.patch(_target(value), value, APPLY)


def _target(value: dict[str, Any]) -> Target:
    kind = by_object(value)
    if kind is None:
        message = f'no matches for kind "{value.get("kind")}" in version "{value.get("apiVersion")}"'
        raise ApiError(404, "NotFound", message)
    namespace = value["metadata"].get("namespace", "default") if kind.namespaced else ""
    return Target(kind, namespace, value["metadata"]["name"], "")
