"""A signed bundle with a k3s release of the stand-in, made and taken in by the installed commands."""

from __future__ import annotations

from pathlib import Path

import yaml
from tests_support.appliance import Appliance

from edgemgr.lab.release_files import write_standin_release

BUNDLE = "bench/stable/1"
VERSION = "v1.33.5+k3s1"


def bring_bundle(appliance: Appliance, directory: Path, *, images_mib: int) -> Path:
    """Returns the archive of images that is in it, as it is published; its bytes do not compress."""
    write_standin_release(directory / "release", VERSION, images_mib=images_mib)
    recipe = {
        "product": "bench",
        "channel": "stable",
        "number": 1,
        "title": "Benchmark",
        "contents": {"k3s": [{"version": VERSION, "release": "release", "archs": ["amd64"]}]},
    }
    source, file, keys, root = (directory / name for name in ("bundle.yaml", "bench-1.emb", "keys", "root.json"))
    source.write_text(yaml.safe_dump(recipe))
    (directory / "passphrase").write_text("for this benchmark alone\n")
    passphrase = ("--passphrase-file", str(directory / "passphrase"))
    told = appliance.run("bundle", "keys", "init", str(keys), "--name", "vendor", *passphrase)
    fingerprint = next(line.split()[-1] for line in told.splitlines() if line.startswith("fingerprint"))
    root.write_text(appliance.run("bundle", "keys", "export-root", str(keys)))
    appliance.run("bundle", "trust", "add", str(root), "--fingerprint", fingerprint)
    appliance.run("bundle", "create", "-f", str(source), "-o", str(file), "--sign-with", str(keys), *passphrase)
    appliance.run("bundle", "import", str(file))
    file.unlink()
    (archive,) = (directory / "release").glob("*images*.tar.gz")
    return archive
