"""The full flavour: a systemd-nspawn container that boots real systemd and real sshd."""

from __future__ import annotations

from pathlib import Path

from edgemgr.lab import processes
from edgemgr.lab.cgroups import make_groups
from edgemgr.lab.network import SiteNetwork
from edgemgr.lab.processes import ProcessIdentity
from edgemgr.lab.site_files import MOUNT_TREE, SiteFiles

PROGRAMS = ("ip", "mount", "nsenter", "systemd-nspawn", "unshare")

#: systemd-nspawn with --keep-unit does not boot again by itself: it ends with 133 and expects to be started anew.
BOOT = (
    MOUNT_TREE
    + """\
printf '%s' "$CONTROL_GROUPS" | while read -r group; do echo $$ >"$group/cgroup.procs"; done
while :; do
  status=0
  systemd-nspawn "$@" || status=$?
  [ "$status" = 133 ] || exit "$status"
done
"""
)


def boot(name: str, files: SiteFiles, net: SiteNetwork, *, base: Path) -> ProcessIdentity:
    """Start the container; returns at once, with the process that keeps it."""
    container = [
        "--quiet",
        "--boot",
        f"--directory={files.folder / 'root'}",
        f"--machine={net.namespace}",
        f"--hostname={name}",
        f"--network-namespace-path={net.namespace_path}",
        "--register=no",
        "--link-journal=no",
        "--resolv-conf=off",
        "--timezone=off",
        # What a real k3s needs: all capabilities, all system calls, and the devices below.
        "--capability=all",
        "--system-call-filter=@known",
        *(f"--bind={device}" for device in ("/dev/kmsg", "/dev/fuse") if Path(device).exists()),
    ]
    groups: list[Path] = []
    if not Path("/run/systemd/system").exists():  # nobody here to give the container a unit, and its group
        container.append("--keep-unit")
        groups = make_groups(net.namespace)
    return processes.start(
        ["/usr/bin/unshare", "--mount", "--propagation=slave", "/bin/sh", "-c", BOOT, "sh", *container],
        log=files.console,
        variables={
            "BASE": str(base),
            "SITE": str(files.folder),
            "CONTROL_GROUPS": "".join(f"{group}\n" for group in groups),
        },
    )


def leader(process: ProcessIdentity) -> int | None:
    """Find the container's process 1, as this machine counts; None while there is none."""
    for nspawn in processes.children(process.pid):
        for pid in processes.children(nspawn):
            if _is_process_1(pid):
                return pid
    return None


def _is_process_1(pid: int) -> bool:
    try:
        status = (processes.PROC / str(pid) / "status").read_text()
    except OSError:
        return False
    return any(line.startswith("NSpid:") and line.split()[-1] == "1" for line in status.splitlines())
