"""A site's own files: its layer over the base tree, its identity, and its data disk.

sites/site-1/up       upper layer of the overlay: all that the site has written; survives a power cut
sites/site-1/work     the overlay's work folder
sites/site-1/root     where the site's processes see their tree; empty for everybody else
sites/site-1/rancher  bound over /var/lib/rancher: containerd's overlay cannot stand on an overlay
sites/site-1/disk.img instead of rancher, when the disk is limited: a file system of that size over /var/lib
sites/site-1/console.log
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from edgemgr.errors import LabError
from edgemgr.lab.base_tree import USER, hash_password
from edgemgr.lab.programs import require_programs, run_program

SMALLEST_DISK_MIB = 64

#: Shell: lays the site's tree together. Run in a mount namespace that ends with the site's processes, so that
#: nothing is left to unmount after a crash. Needs $BASE and $SITE.
MOUNT_TREE = """\
set -e
mount -t overlay overlay -o "lowerdir=$BASE,upperdir=$SITE/up,workdir=$SITE/work" "$SITE/root"
if [ -f "$SITE/disk.img" ]; then mount -o loop "$SITE/disk.img" "$SITE/root/var/lib"
else mount --bind "$SITE/rancher" "$SITE/root/var/lib/rancher"; fi
"""


@dataclass(frozen=True)
class SiteFiles:
    """Where a site's files lie."""

    folder: Path

    @property
    def upper(self) -> Path:
        """The upper layer."""
        return self.folder / "up"

    @property
    def console(self) -> Path:
        """What the site wrote while it booted."""
        return self.folder / "console.log"

    def console_tail(self, lines: int) -> str:
        """Return the last lines of the console."""
        if not self.console.exists():
            return ""
        return "\n".join(self.console.read_text(errors="replace").splitlines()[-lines:])

    def write(self, relative: str, content: str, mode: int = 0o644) -> None:
        """Write a file into the upper layer, before the site runs; its own users can walk there."""
        path = self.upper / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        for folder in [self.upper, *(self.upper / parent for parent in Path(relative).parents)]:
            folder.chmod(0o755)  # whatever our own umask is
        path.touch(mode)
        path.chmod(mode)
        path.write_text(content)

    def remove(self) -> None:
        """Remove them all."""
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass(frozen=True)
class SiteIdentity:
    """What the owner of a site would be told about it."""

    password: str
    host_key: str
    fingerprint: str


def create_site_files(files: SiteFiles, *, base: Path, hostname: str, disk_mib: int | None) -> SiteIdentity:
    """Make a new site's files, with a host key, a machine id and a password of its own.

    Raises:
        LabError: E-LAB-DISK, the disk is too small; E-LAB-PROGRAM-FAILED.
    """
    files.remove()
    for part in ("up", "work", "root", "rancher"):
        (files.folder / part).mkdir(parents=True)
    files.folder.chmod(0o700)
    if disk_mib is not None:
        _make_disk(files.folder / "disk.img", base / "var/lib", disk_mib)
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    password = secrets.token_urlsafe(12)
    files.write("etc/hostname", f"{hostname}\n")
    files.write("etc/hosts", f"127.0.0.1 localhost {hostname}\n::1 localhost\n")
    files.write("etc/machine-id", f"{secrets.token_hex(16)}\n")
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    files.write("etc/ssh/ssh_host_ed25519_key", private, mode=0o600)
    files.write("etc/ssh/ssh_host_ed25519_key.pub", f"{public} root@{hostname}\n")
    shadow = [
        f"{USER}:{hash_password(base, password)}:19000:0:99999:7:::" if line.startswith(f"{USER}:") else line
        for line in (base / "etc/shadow").read_text().splitlines()
    ]
    files.write("etc/shadow", "\n".join(shadow) + "\n", mode=0o600)
    return SiteIdentity(password, public, fingerprint(public))


def fingerprint(public_line: str) -> str:
    """Compute a key's fingerprint as `ssh-keygen -lf` prints it: SHA-256 in base64 without the padding."""
    digest = hashlib.sha256(base64.b64decode(public_line.split()[1])).digest()
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def _make_disk(image: Path, content: Path, size_mib: int) -> None:
    if size_mib < SMALLEST_DISK_MIB:
        raise LabError(f"a disk of {size_mib} MiB is too small for a site", code="E-LAB-DISK")
    require_programs("mkfs.ext4")
    run_program(
        "mkfs.ext4", "-q", "-m", "0", "-d", str(content), str(image), f"{size_mib}M", doing="make a site's disk"
    )
