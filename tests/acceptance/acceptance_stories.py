"""Steps that several stories share."""

from __future__ import annotations

from tests_support.appliance import Appliance

from edgemgr.lab.lab import Lab

VERSION = "v1.33.5+k3s1"


def import_sites(appliance: Appliance, lab: Lab) -> None:
    """Import the CSV that the lab wrote of itself."""
    appliance.run("site", "import", str(lab.csv_path))
