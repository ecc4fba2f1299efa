"""Somebody who makes bundles with the installed commands, and a meter of what then goes to a site."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from acceptance_stories import VERSION
from tests_support.appliance import Appliance

from edgemgr.lab.lab import Lab
from edgemgr.lab.network import INTERFACES, site_network
from edgemgr.lab.release_files import write_standin_release


class Vendor:
    """Keys, a k3s release, and a directory for what else goes into a bundle."""

    def __init__(self, appliance: Appliance, directory: Path, *, images_mib: int) -> None:
        self.directory = directory
        self._appliance = appliance
        write_standin_release(directory / "release", VERSION, images_mib=images_mib)
        (directory / "passphrase").write_text("for this test alone\n")
        self._passphrase = ("--passphrase-file", str(directory / "passphrase"))
        keys, root = str(directory / "keys"), directory / "root.json"
        told = appliance.run("bundle", "keys", "init", keys, "--name", "vendor", *self._passphrase)
        fingerprint = next(line.split()[-1] for line in told.splitlines() if line.startswith("fingerprint"))
        root.write_text(appliance.run("bundle", "keys", "export-root", keys))
        appliance.run("bundle", "trust", "add", str(root), "--fingerprint", fingerprint)

    def bring(self, number: int, **contents: Any) -> str:
        """Make a bundle of the k3s release and this, and import it; returns its name."""
        recipe = {
            "product": "retail",
            "channel": "stable",
            "number": number,
            "title": "Stores",
            "contents": {"k3s": [{"version": VERSION, "release": "release", "archs": ["amd64"]}], **contents},
        }
        source, file = self.directory / f"bundle-{number}.yaml", self.directory / f"retail-{number}.emb"
        source.write_text(yaml.safe_dump(recipe))
        signed = ("--sign-with", str(self.directory / "keys"), *self._passphrase)
        self._appliance.run("bundle", "create", "-f", str(source), "-o", str(file), *signed)
        self._appliance.run("bundle", "import", str(file))
        file.unlink()
        return f"retail/stable/{number}"


class Link:
    """Counts what goes to a site, as the kernel does."""

    def __init__(self, lab: Lab, name: str) -> None:
        net = site_network(lab.directory, lab.subnet, lab.site(name).number)
        self._counter = INTERFACES / net.interface / "statistics/tx_bytes"
        self._before = int(self._counter.read_text())

    def since(self) -> int:
        """Bytes since this was asked last."""
        before, self._before = self._before, int(self._counter.read_text())
        return self._before - before
