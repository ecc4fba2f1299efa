"""A stick goes to a site whose link is down, a receipt comes back, and what is forged on the way is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from acceptance_stories import VERSION, import_sites
from tests_support.appliance import Appliance, until
from tests_support.bundle_shop import NEW, BundleShop
from tests_support.stick_node import make_key, said, signed_by

from edgemgr.lab import power
from edgemgr.lab.lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.slow]

FIRST, SECOND = "retail/stable/1", "retail/stable/2"
LARGE_BYTES = 24 << 20
STICK = "/media/stick"
STORE = "/var/lib/edgemgr/cache/sha256"


class Fleet:
    """Two sites that the appliance has bootstrapped, with the first of its two bundles, and then lost sight of."""

    def __init__(self, lab: Lab, appliance: Appliance) -> None:
        self.lab, self.appliance = lab, appliance

    def inside(self, site: str, path: str) -> Path:
        """A path of the site as this machine sees it: past its SSH and its link."""
        pid = power.leader(self.lab.site(site))
        assert pid is not None
        return Path(f"/proc/{pid}/root{path}")

    def carry(self, stick: Path, site: str) -> None:
        """Put a stick in."""
        there = self.inside(site, STICK)
        shutil.rmtree(there, ignore_errors=True)
        shutil.copytree(stick, there)

    def script(self, site: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """What a person does there."""
        return self.lab.run(site, ["sh", f"{STICK}/stage.sh", *arguments], timeout_s=120)

    def refused(self, stick: Path, site: str, *arguments: str) -> str:
        """Carry a stick there and run its script; the code of the refusal."""
        self.carry(stick, site)
        done = self.script(site, *arguments)
        assert (done.returncode, done.stdout) == (1, ""), done.stderr
        return done.stderr.rpartition("code: ")[2].strip()

    def held(self, site: str) -> dict[str, tuple[int, float]]:
        """The files of the site's content store; who wrote one again would change this."""
        return {path.name: (path.stat().st_ino, path.stat().st_mtime) for path in self.inside(site, STORE).iterdir()}

    def received_bytes(self, site: str) -> int:
        """What has come to the site over its link since it booted."""
        lines = self.lab.run(site, ["cat", "/proc/net/dev"]).stdout.splitlines()[2:]
        return sum(int(line.split(":")[1].split()[0]) for line in lines if not line.strip().startswith("lo:"))

    def order(self, directory: Path, *sites: str) -> dict:
        chosen = [word for site in sites for word in ("--site", site)]
        written = self.appliance.run("bundle", "workorder", SECOND, *chosen, "-o", str(directory), "--output", "json")
        found: dict = json.loads(written)
        return found

    def refused_receipt(self, path: Path) -> str:
        done = self.appliance.attempt("receipt", "import", str(path))
        assert done.returncode != 0
        return done.stderr.rpartition("code: ")[2].split()[0]

    def reasons(self) -> list[str]:
        return [item["reason"] for item in self.appliance.items("event", "list", "--limit", "20")]


@pytest.fixture(scope="module")
def fleet(lab: Lab, appliance: Appliance, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    shop = BundleShop.open(tmp_path_factory.mktemp("maker") / "shop")
    shop.trusted_in(appliance.directory / "state/trust")
    appliance.run("bundle", "import", str(shop.bundle(1, (NEW,))))
    lab.up(2)
    import_sites(appliance, lab)
    appliance.serve()
    appliance.run("bootstrap", "--all", "--version", VERSION, "--wait")
    appliance.run("stage", FIRST, "site-1")
    until("the first bundle is there", lambda: _is_staged(appliance, FIRST), 120)
    appliance.run("bundle", "import", str(shop.bundle(2, (NEW,), more=[shop.large(LARGE_BYTES)])))
    return Fleet(lab, appliance)


@pytest.fixture
def dark(fleet: Fleet) -> Iterator[Fleet]:
    """No link leads to them."""
    for site in ("site-1", "site-2"):
        fleet.lab.cut(site)
    yield fleet
    for site in ("site-1", "site-2"):
        fleet.lab.restore(site)


def _is_staged(appliance: Appliance, bundle: str) -> bool:
    items = appliance.items("stage", "status")
    return [(item["bundle"], item["state"]) for item in items if item["site"] == "site-1"] == [(bundle, "succeeded")]


def test_a_site_whose_link_is_down_is_staged_by_hand_and_nothing_is_sent_again(dark: Fleet, tmp_path: Path) -> None:
    before = dark.held("site-1")
    order = dark.order(tmp_path / "stick", "site-1", "site-2")
    # The bootstrap has brought the key: nobody has to type a code, and no other appliance's stick counts.
    dark.carry(tmp_path / "stick", "site-1")
    done = dark.script("site-1")
    assert done.returncode == 0, done.stderr
    receipt = dark.inside("site-1", done.stdout.strip())
    told = said(receipt)
    assert (told["order"], told["site"]) == (order["number"], "site-1")
    assert LARGE_BYTES <= told["copied_bytes"] < LARGE_BYTES + (1 << 20), "what the link has brought was not copied"
    after = dark.held("site-1")
    assert {name: after[name] for name in before} == before
    assert set(told["blobs"]) <= set(after)

    altered = tmp_path / "altered.receipt"
    altered.write_bytes(receipt.read_bytes().replace(b'"copied_bytes":', b'"copied_bytes":1'))
    assert dark.refused_receipt(altered) == "E-RECEIPT-SIGNATURE"
    stolen = tmp_path / "site-2-key"
    stolen.write_text(dark.lab.run("site-2", ["cat", "/etc/ssh/ssh_host_ed25519_key"]).stdout)
    stolen.chmod(0o600)
    forged = tmp_path / "forged.receipt"
    forged.write_bytes(signed_by(stolen, told))
    assert dark.refused_receipt(forged) == "E-RECEIPT-KEY"
    assert {item["site"]: item["state"] for item in dark.appliance.items("receipt", "list")} == {
        "site-1": "owed",
        "site-2": "owed",
    }
    back = tmp_path / "back"
    shutil.copytree(dark.inside("site-1", STICK), back)
    dark.appliance.run("receipt", "import", str(back))
    assert dark.refused_receipt(back) == "E-RECEIPT-REPLAYED"

    listed = {item["site"]: item for item in dark.appliance.items("receipt", "list")}
    assert (listed["site-1"]["state"], listed["site-2"]["state"]) == ("staged", "owed")
    assert (listed["site-1"]["bundle"], listed["site-1"]["blobs"]) == (SECOND, len(told["blobs"]))
    assert "ReceiptImported" in dark.appliance.run("site", "show", "site-1")
    assert dark.reasons().count("ReceiptRefused") == 3

    dark.lab.restore("site-1")
    until("the site is back", lambda: dark.appliance.site("site-1")["reachability"] == "reachable", 120)
    came = dark.received_bytes("site-1")
    dark.appliance.run("stage", SECOND, "site-1")
    until("it is staged", lambda: _is_staged(dark.appliance, SECOND), 120)
    assert dark.received_bytes("site-1") - came < 1 << 20
    assert dark.held("site-1") == after


def test_a_stick_that_was_changed_on_the_way_does_nothing(dark: Fleet, tmp_path: Path) -> None:
    old, stick = tmp_path / "old", tmp_path / "stick"
    dark.order(old, "site-1")
    dark.order(stick, "site-1")
    blob = max((stick / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size).name
    dark.inside("site-1", f"{STORE}/{blob}").unlink(missing_ok=True)
    before = dark.held("site-1")
    assert dark.refused(stick, "site-2") == "E-STICK-SITE"

    forged, key = tmp_path / "forged", tmp_path / "thief"
    make_key(key)
    shutil.copytree(stick, forged)
    order = forged / "workorder.signed"
    order.write_bytes(signed_by(key, said(order), "edgemgr-workorder"))
    assert dark.refused(forged, "site-1", "--code", "AAAA-BBBB-CCCC-DDDD-EEEE") == "E-STICK-SIGNATURE"
    order.write_bytes((stick / order.name).read_bytes().replace(b'"site-1"', b'"site-2"'))
    assert dark.refused(forged, "site-1") == "E-STICK-SIGNATURE"

    shutil.copy(stick / order.name, order)
    with (forged / "blobs/sha256" / blob).open("r+b") as file:
        file.seek(LARGE_BYTES // 2)
        byte = file.read(1)
        file.seek(LARGE_BYTES // 2)
        file.write(bytes([byte[0] ^ 1]))
    assert dark.refused(forged, "site-1") == "E-STICK-DAMAGED"
    assert dark.held("site-1") == before
    assert not dark.inside("site-1", f"{STICK}/receipts").exists()
    assert dark.refused(old, "site-1") == "E-STICK-OLDER", "a newer order was begun there"

    dark.carry(stick, "site-1")
    assert dark.script("site-1").returncode == 0
    assert set(dark.held("site-1")) == {*before, blob}
