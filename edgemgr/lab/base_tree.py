"""The tree that all simulated sites share as the lower layer of their overlay: a small Debian, built once.

Built beside its place and moved there when complete, so that it is whole or absent. A stamp inside says from
which recipe it was built: this very file and the suite.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from edgemgr.errors import LabError
from edgemgr.lab.apt_mirror import Mirror, machine_mirror, machine_suite
from edgemgr.lab.processes import PROC
from edgemgr.lab.programs import require_programs, run_program
from edgemgr.lab.record import exclusive
from edgemgr.settings import program_environment

STAMP = "etc/edgemgr-lab-base"
USER = "edge"
BUILD_TIMEOUT_S = 1800.0
INCLUDED = (
    "systemd", "systemd-sysv", "dbus", "openssh-server", "python3", "openssl", "sudo", "iproute2", "iptables",
    "procps", "kmod", "ca-certificates", "zstd",
)  # fmt: skip
DISPENSABLE = (
    "usr/share/man", "usr/share/doc", "usr/share/locale", "usr/share/info", "var/cache/apt", "var/lib/apt/lists",
)  # fmt: skip

#: A container sees its control groups and /proc/sys read-only; a k3s must write both. A plain remount of a
#: hierarchy says "mount point is busy": only the bind mount's own flag is to be changed.
HOST_UNIT = """\
[Unit]
Description=Let this simulated site use its control groups and forward packets
DefaultDependencies=no
Before=sysinit.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'for d in /sys/fs/cgroup /sys/fs/cgroup/*/; do mount -o remount,bind,rw "$d"; done; \
mount -o remount,bind,rw /proc/sys; mount --make-rshared /; sysctl -w net.ipv4.ip_forward=1; true'
"""
#: No console to log in at, and no kernel settings from inside: most of them belong to the whole machine.
MASKED = ("console-getty.service", "systemd-sysctl.service")
SSHD = """\
HostKey /etc/ssh/ssh_host_ed25519_key
PasswordAuthentication yes
PermitRootLogin no
UseDNS no
"""

#: How debootstrap's lines begin -> what is told of them.
PHASES = {
    "Retrieving": "fetching packages",
    "Extracting": "unpacking the first packages",
    "Unpacking": "setting up packages",
    "Configuring": "setting up packages",
}

Progress = Callable[[str], None]


def ensure_base(base: Path, progress: Progress) -> None:
    """Build the tree, unless it stands there already as today's recipe makes it.

    An older tree that sites still run on is left as it is.

    Raises:
        LabError: E-LAB-MIRROR, E-LAB-PROGRAM, E-LAB-BASE.
    """
    suite = machine_suite()
    recipe = repr((INCLUDED, DISPENSABLE, HOST_UNIT, MASKED, SSHD, USER)) + inspect.getsource(_adapt)
    stamp = f"{suite} {hashlib.sha256(recipe.encode()).hexdigest()}\n"
    base.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(base.with_name(f"{base.name}.lock"), within_s=BUILD_TIMEOUT_S):
        stands = base / STAMP
        if stands.is_file() and (stands.read_text() == stamp or is_in_use(base)):
            return
        require_programs("debootstrap", "apt-config", "unshare")
        building = base.with_name(f"{base.name}.building")
        shutil.rmtree(building, ignore_errors=True)
        try:
            _debootstrap(building, suite, machine_mirror(suite), progress)
            progress("base tree: adapting it")
            _adapt(building)
            (building / STAMP).write_text(stamp)
            shutil.rmtree(base, ignore_errors=True)
            building.rename(base)
        finally:
            shutil.rmtree(building, ignore_errors=True)


def remove_base(base: Path) -> None:
    """Remove the tree.

    Raises:
        LabError: E-LAB-BASE-IN-USE, sites (of another lab) run on it.
    """
    if is_in_use(base):
        raise LabError(f"sites of another lab run on {base}", hint="End that lab first.", code="E-LAB-BASE-IN-USE")
    shutil.rmtree(base, ignore_errors=True)
    base.with_name(f"{base.name}.lock").unlink(missing_ok=True)


def is_in_use(base: Path) -> bool:
    """Whether any process on this machine has an overlay on this tree; each site has mounts of its own."""
    wanted = f"lowerdir={base},"
    for mounts in PROC.glob("[0-9]*/mountinfo"):
        try:
            if wanted in mounts.read_text(errors="replace"):
                return True
        except OSError:
            continue
    return False


def hash_password(base: Path, password: str) -> str:
    """Return what /etc/shadow holds for a password; made by the tree's own openssl, the password on its input."""
    return run_program(
        "chroot", str(base), "openssl", "passwd", "-6", "-stdin", doing="hash a password", input_text=password
    ).strip()


def _debootstrap(tree: Path, suite: str, mirror: Mirror, progress: Progress) -> None:
    # In a mount namespace of its own: what it mounts inside the tree is gone with it, however it ends.
    command = ["unshare", "--mount", "debootstrap", "--variant=minbase", f"--include={','.join(INCLUDED)}"]
    if mirror.keyring:
        command.append(f"--keyring={mirror.keyring}")
    command += [suite, str(tree), mirror.url]
    log = tree.with_name(f"{tree.name}.log")
    environment = program_environment() | _apt_proxies()
    with log.open("w") as told:
        builder = subprocess.Popen(
            ["timeout", "--kill-after=10", f"{BUILD_TIMEOUT_S:g}", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        )
        try:
            for count, line in enumerate(builder.stdout or ()):
                told.write(line)
                phase = next((phase for sign, phase in PHASES.items() if line.startswith(f"I: {sign}")), None)
                if phase:
                    progress(f"base tree: {phase} ({count})")
        except BaseException:
            builder.terminate()  # timeout(1) ends its whole process group with itself
            raise
        finally:
            builder.communicate()
    if builder.returncode != 0:
        last = next((line for line in reversed(log.read_text().splitlines()) if line.startswith("E:")), "")
        raise LabError(
            f"debootstrap could not build the base tree from {mirror.url} (status {builder.returncode}): {last}",
            hint=f"Its words are in {log}; the packages come from where this machine's apt gets them.",
            code="E-LAB-BASE",
        )
    log.unlink()


def _apt_proxies() -> dict[str, str]:
    """Return a proxy that apt uses, in the variables that debootstrap's wget reads."""
    found = {}
    for scheme in ("http", "https"):
        value = run_program("apt-config", "dump", f"Acquire::{scheme}::Proxy", doing="ask apt for its proxy")
        if '"' in value:
            found[f"{scheme}_proxy"] = value.split('"')[1]
    return found


def _adapt(tree: Path) -> None:
    for folder in DISPENSABLE:
        shutil.rmtree(tree / folder, ignore_errors=True)
    for key in (tree / "etc/ssh").glob("ssh_host_*"):
        key.unlink()  # each site has its own
    (tree / "etc/machine-id").write_text("")
    (tree / "etc/ssh/sshd_config.d/edgemgr-lab.conf").write_text(SSHD)
    units = tree / "etc/systemd/system"
    (units / "edgemgr-lab-host.service").write_text(HOST_UNIT)
    wants = units / "sysinit.target.wants"
    wants.mkdir(exist_ok=True)
    (wants / "edgemgr-lab-host.service").symlink_to("../edgemgr-lab-host.service")
    for unit in MASKED:
        (units / unit).symlink_to(os.devnull)
    (tree / "var/lib/rancher").mkdir()
    run_program("chroot", str(tree), "useradd", "--create-home", "--shell", "/bin/bash", USER, doing="add the user")
    sudoers = tree / "etc/sudoers.d" / USER
    sudoers.write_text(f"{USER} ALL=(ALL) NOPASSWD: ALL\n")
    sudoers.chmod(0o440)
