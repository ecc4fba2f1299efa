"""Plain files of a bundle: under which name each kind goes in, and what such a file must look like."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from edgemgr.bundles.charts import read_chart
from edgemgr.bundles.sbom import Thing
from edgemgr.bundles.shelf import file_blocks
from edgemgr.errors import BundleError
from edgemgr.model.content import TargetKind
from edgemgr.model.release import Packing, packing_of

_MAX_TEXT_BYTES = 16 << 20
#: k3s takes manifests by names of this form only (docs.k3s.io, packaged components).
_MANIFEST_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,250}[a-z0-9])?\.yaml", re.ASCII)


@dataclass(frozen=True)
class Known:
    """What a file says of itself; empty where its kind says nothing."""

    name: str = ""
    version: str = ""


@dataclass(frozen=True)
class FileKind:
    """One kind of plain file."""

    kind: TargetKind
    folder: str  #: first part of its name among the targets
    check: Callable[[Path], Known]
    thing: Thing | None = None  #: as which it is listed in the bill of materials


def _chart(path: Path) -> Known:
    chart = read_chart(path)
    return Known(chart.name, chart.version)


def _wheel(path: Path) -> Known:
    try:
        name, version, *_ = parse_wheel_filename(path.name)
    except InvalidWheelFilename as exc:
        raise _fault(path, "has no name of a wheel", "Keep the name that it was published with.") from exc
    if not zipfile.is_zipfile(path):
        raise _fault(path, "is no wheel: it is no zip archive", "Fetch it again.")
    return Known(name, str(version))


def _manifest(path: Path) -> Known:
    if _MANIFEST_NAME.fullmatch(path.name) is None:
        raise _fault(
            path, "has a name that k3s does not take", "Use small letters, digits, dots and hyphens, and .yaml."
        )
    try:
        for document in yaml.safe_load_all(_text(path)):
            if document is not None and not isinstance(document, dict):
                raise _fault(path, "holds something that is no Kubernetes object", "Each document is a mapping.")
    except (yaml.YAMLError, RecursionError, ValueError) as exc:
        raise _fault(path, f"is no YAML: {exc}", "Mend the file.") from exc
    return Known()


def _playbooks(path: Path) -> Known:
    if packing_of(next(file_blocks(path), b"")) is not Packing.GZIP:
        raise _fault(path, "is no .tar.gz", "Give an archive as `ansible-galaxy collection build` writes it.")
    return Known()


def _notes(path: Path) -> Known:
    _text(path)
    return Known()


def _text(path: Path) -> str:
    content = b""
    for block in file_blocks(path):
        content += block
        if len(content) > _MAX_TEXT_BYTES:
            raise _fault(path, f"is larger than {_MAX_TEXT_BYTES >> 20} MiB", "Split it.")
    try:
        return content.decode()
    except UnicodeDecodeError as exc:
        raise _fault(path, "is no text in UTF-8", "Save it as UTF-8.") from exc


def _fault(path: Path, why: str, hint: str) -> BundleError:
    return BundleError(f"{path} {why}", hint=hint, code="E-BUNDLE-FILE")


CHART = FileKind(TargetKind.CHART, "charts", _chart, Thing.CHART)
MANIFEST = FileKind(TargetKind.MANIFEST, "manifests", _manifest)
PLAYBOOKS = FileKind(TargetKind.PLAYBOOKS, "playbooks", _playbooks)
WHEEL = FileKind(TargetKind.WHEEL, "wheels", _wheel, Thing.WHEEL)
NOTES = FileKind(TargetKind.NOTES, "notes", _notes)
