"""What a Helm chart says of itself: the `Chart.yaml` inside its archive."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from edgemgr.bundles.foreign_tar import ForeignTar
from edgemgr.bundles.unpacking import Unpacked
from edgemgr.errors import BundleError
from edgemgr.model.release import Packing

_MAX_CHART_YAML_BYTES = 1 << 20


@dataclass(frozen=True)
class Chart:
    """A chart's name and version."""

    name: str
    version: str


def read_chart(path: Path) -> Chart:
    """Read a packaged chart (`helm package`): a gzipped tar with NAME/Chart.yaml.

    Raises:
        BundleError: it is no chart (E-BUNDLE-FILE), or its archive is damaged (E-BUNDLE-ARCHIVE).
    """
    found = None
    with path.open("rb") as file:
        content = Unpacked(file, what=str(path))
        archive = ForeignTar(content, what=str(path))
        for member in archive if content.packing is Packing.GZIP else ():
            parts = member.name.removeprefix("./").split("/")
            if found is None and len(parts) == 2 and parts[1] == "Chart.yaml":  # noqa: PLR2004 — NAME/Chart.yaml
                found = archive.content(_MAX_CHART_YAML_BYTES)
    try:
        chart = yaml.safe_load(found or b"")
    except (yaml.YAMLError, RecursionError, ValueError):
        chart = None
    if not isinstance(chart, dict) or not all(isinstance(chart.get(key), str) for key in ("name", "version")):
        raise BundleError(
            f"{path} is no Helm chart: it has no Chart.yaml with name and version",
            hint="Give a file as `helm package` writes it.",
            code="E-BUNDLE-FILE",
        )
    return Chart(chart["name"], chart["version"])
