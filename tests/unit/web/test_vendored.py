from __future__ import annotations

import hashlib
import json
from pathlib import Path

import edgemgr.web

WEB = Path(edgemgr.web.__file__).parent
VENDOR = WEB / "static" / "vendor"
MANIFEST = json.loads((VENDOR / "VENDORED.json").read_text())


def test_every_third_party_file_is_the_one_in_the_manifest() -> None:
    expected = {name: file["sha256"] for package in MANIFEST for name, file in package["files"].items()}
    found = {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in VENDOR.iterdir()
        if file.name != "VENDORED.json"
    }
    assert found == expected


def test_every_package_says_its_licence_and_brings_its_text() -> None:
    for package in MANIFEST:
        assert package["licence"]
        assert any("LICENSE" in name for name in package["files"])


def test_the_lock_file_pins_the_packages_of_the_manifest_and_names_no_registry() -> None:
    text = (WEB / "package-lock.json").read_text()
    assert "http" not in text
    assert "resolved" not in text
    locked = json.loads(text)["packages"]
    wanted = json.loads((WEB / "package.json").read_text())["devDependencies"]
    assert wanted == {package["name"]: package["version"] for package in MANIFEST}
    for package in MANIFEST:
        entry = locked[f"node_modules/{package['name']}"]
        assert (entry["version"], entry["integrity"]) == (package["version"], package["integrity"])


def test_a_browser_loads_little() -> None:
    assert sum(file.stat().st_size for file in (WEB / "static").rglob("*") if file.is_file()) < 100_000
