"""A bad version ends on the old one: same datastore, same objects, a healthy site, and one sentence why."""

from __future__ import annotations

import json
from typing import Any

import pytest
from acceptance_stories import VERSION
from tests_support.appliance import Appliance
from upgrade_stories import Company

from edgemgr.lab.lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.slow]

#: More than the small disk has. A stage wants 2 GiB to stay free.
DISK_MIB, FILL_MIB = 2600, 4000
#: Site, what is wrong with the version that it is given, and what the sentence has to say.
BAD: list[tuple[str, str, dict[str, float], str]] = [
    ("site-1", "v1.34.11+k3s1", {"crash": 2}, "k3s crashed"),
    ("site-2", "v1.34.12+k3s1", {"never_ready": 1}, "is not Ready"),
    ("site-3", "v1.34.13+k3s1", {"lose_workload": 1}, "Deployment/shop/till is not ready (0/1)"),
    ("site-4", "v1.34.14+k3s1", {"fill_disk": FILL_MIB}, ""),
]


@pytest.fixture(scope="module")
def company(lab: Lab, appliance: Appliance, tmp_path_factory: pytest.TempPathFactory) -> Company:
    """Four sites, the last with a small disk."""
    lab.up(3)
    lab.up(4, disk_mib=DISK_MIB)
    company = Company(appliance, lab, tmp_path_factory.mktemp("vendor"))
    company.begin(*(site for site, *_ in BAD))
    return company


def prices(company: Company, site: str) -> dict[str, Any]:
    found = json.loads(company.node(site, "k3s", "kubectl", "get", "configmap", "prices", "-n", "shop", "-o", "json"))
    return {"uid": found["metadata"]["uid"], "data": found["data"]}


@pytest.mark.parametrize(("site", "version", "faults", "says"), BAD, ids=[next(iter(row[2])) for row in BAD])
def test_the_site_goes_back_with_its_data(
    company: Company, site: str, version: str, faults: dict[str, float], says: str
) -> None:
    bundle = company.bring(20 + int(site[-1]), {version: faults})
    company.stage(bundle, site)
    before = company.till(site), prices(company, site)
    company.upgrade(bundle, site, status=6)

    operation = company.appliance.operation(site)
    assert (operation["state"], operation["code"]) == ("failed", "E-UPGRADE-ROLLED-BACK"), company.told(site)
    assert operation["message"].startswith(f"the node went back to {VERSION}: ")
    assert says in operation["message"]
    assert "\n" not in operation["message"]
    assert operation["attempts"] >= 1
    verdict = company.verdict(site)
    assert verdict is not None
    assert (verdict["verdict"], verdict["version"]) == ("rolled_back", VERSION)

    assert company.runs(site) == VERSION
    compared = company.datastore(site)
    assert (compared["rows"] > 50, compared["other"]) == (True, [])
    after = company.till(site), prices(company, site)
    assert after[1] == before[1]
    assert (after[0]["uid"], after[0]["phase"]) == (before[0]["uid"], "Running")
    found = company.appliance.site(site)
    assert (found["k3s_version"], found["update"]) == (VERSION, "out_of_date")
    assert found["health"] in ({"healthy"} if "fill_disk" not in faults else {"healthy", "degraded"})
