"""A node without a link, as a file tree with real host keys; and a person who runs the script of a stick there."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgemgr.links.host_keys import fingerprint
from edgemgr.links.stick_keys import split_signed

KINDS = {"ed25519": [], "ecdsa": ["-b", "256"], "rsa": ["-b", "3072"]}


class StickNode:
    """Everything below `root`."""

    def __init__(self, root: Path, kind: str = "ed25519") -> None:
        self.root = root
        self.key = root / f"etc/ssh/ssh_host_{kind}_key"
        self.key.parent.mkdir(parents=True)
        make_key(self.key, kind)

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.key.with_suffix(".pub").read_text())

    @property
    def cache(self) -> Path:
        return self.root / "var/lib/edgemgr/cache/sha256"

    @property
    def held(self) -> set[str]:
        return {path.name for path in self.cache.iterdir()} if self.cache.is_dir() else set()

    def script(self, stick: Path, *arguments: str) -> Sequence[str]:
        return ["sh", str(stick / "stage.sh"), "--root", str(self.root), *arguments]

    def run(self, stick: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the script from the stick."""
        return subprocess.run(
            self.script(stick, *arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def staged(self, stick: Path, *arguments: str) -> Path:
        """Run it to its good end; returns the receipt."""
        done = self.run(stick, *arguments)
        assert done.returncode == 0, done.stderr
        return Path(done.stdout.strip())

    def refused(self, stick: Path, *arguments: str) -> str:
        """Run it; returns the code of the refusal."""
        done = self.run(stick, *arguments)
        assert done.returncode == 1, done.stderr
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
        return done.stderr.rpartition("code: ")[2].strip()


def make_key(path: Path, kind: str = "ed25519") -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", kind, *KINDS[kind], "-N", "", "-f", str(path)], check=True, timeout=60)


def signed_by(key: Path, receipt: dict[str, Any], namespace: str = "edgemgr-receipt") -> bytes:
    """A receipt that says this, signed with this key by OpenSSH's own program."""
    line = json.dumps(receipt, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    done = subprocess.run(
        ["ssh-keygen", "-Y", "sign", "-f", str(key), "-n", namespace],
        input=line,
        capture_output=True,
        timeout=60,
        check=True,
    )
    return line + done.stdout


def said(receipt: Path) -> dict[str, Any]:
    """What a receipt says."""
    found: dict[str, Any] = json.loads(split_signed(receipt.read_bytes())[0])
    return found
