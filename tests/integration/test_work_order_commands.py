"""`edgemgr bundle workorder` and `edgemgr receipt` as processes, with the real script in between."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests_support.appliance import Appliance
from tests_support.bundle_shop import BundleShop
from tests_support.stick_node import StickNode

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the script of a stick works as root")


@pytest.fixture
def appliance(tmp_path: Path) -> Iterator[Appliance]:
    (tmp_path / "appliance").mkdir()
    appliance = Appliance(tmp_path / "appliance", tmp_path / "lab")
    shop = BundleShop.open(tmp_path / "shop")
    shop.trusted_in(appliance.directory / "state" / "trust")
    appliance.run("bundle", "import", str(shop.bundle()))
    yield appliance
    appliance.close()


def test_a_stick_goes_out_and_comes_back(appliance: Appliance, tmp_path: Path) -> None:
    nodes = [StickNode(tmp_path / f"store-000{number}") for number in (1, 2)]
    lines = [f"store-000{at},192.0.2.{at},{node.fingerprint},amd64" for at, node in enumerate(nodes, 1)]
    (tmp_path / "sites.csv").write_text("\n".join(["name,address,host_key,arch", *lines]) + "\n")
    appliance.run("site", "import", str(tmp_path / "sites.csv"))

    order = ("bundle", "workorder", "retail/stable/1", "--all", "-o", str(tmp_path / "stick"))
    refused = appliance.attempt(*order, "--allow-activation")
    assert (refused.returncode, "code: E-ORDER-ACTIVATION" in refused.stderr) == (2, True)
    assert not (tmp_path / "stick").exists()
    written = json.loads(appliance.run(*order, "--output", "json"))
    assert written["sites"] == ["store-0001", "store-0002"]
    key = json.loads(appliance.run("bundle", "workorder-key", "-o", "json"))
    assert written["key"]["code"] == key["code"]
    assert key["code"] in appliance.run("bundle", "workorder-key")
    script = (tmp_path / "stick/stage.sh").read_bytes()
    assert written["script_digest"] == hashlib.sha256(script).hexdigest()
    assert [item["state"] for item in appliance.items("receipt", "list")] == ["owed", "owed"]

    # One stick for each site; both come back, one of them altered on the way.
    shutil.copytree(tmp_path / "stick", tmp_path / "second")
    nodes[0].staged(tmp_path / "stick", "--code", key["code"])
    altered = nodes[1].staged(tmp_path / "second", "--code", key["code"])
    good = altered.read_bytes()
    altered.write_bytes(good.replace(b'"copied_bytes":', b'"copied_bytes":1'))
    done = appliance.attempt("receipt", "import", str(tmp_path / "stick"), str(tmp_path / "second"), "-o", "json")
    assert done.returncode == 6, done.stderr
    assert [(item["site"], item["code"]) for item in json.loads(done.stdout)["items"]] == [
        ("store-0001", ""),
        (None, "E-RECEIPT-SIGNATURE"),
    ]
    altered.write_bytes(good)
    appliance.run("receipt", "import", str(altered))
    again = appliance.attempt("receipt", "import", str(altered))
    assert (again.returncode, "code: E-RECEIPT-REPLAYED" in again.stderr) == (5, True)

    items = appliance.items("receipt", "list", "--order", str(written["number"]))
    assert [(item["site"], item["state"]) for item in items] == [("store-0001", "staged"), ("store-0002", "staged")]
    assert "retail/stable/1" in appliance.run("receipt", "list", "--site", "store-0002", "-o", "wide")
    assert appliance.run("receipt", "list", "--site", "store-0003", "-o", "name") == ""
