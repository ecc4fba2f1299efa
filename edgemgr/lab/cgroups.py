"""Control groups of the full flavour, on machines whose process 1 is not systemd.

There nobody else makes a group for the container: one is made in every mounted hierarchy, and the container's
first process joins them all. systemd-nspawn also wants to mount every hierarchy that the kernel knows (v1), and a
container may only mount what the machine has mounted: the missing ones are mounted first, and marked as ours.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from edgemgr.errors import LabError
from edgemgr.lab.programs import run_program
from edgemgr.lab.record import exclusive

ROOT = Path("/sys/fs/cgroup")
MARK = "edgemgr-lab"  #: the source of our mounts, as /proc/mounts shows it
LOCK = Path("/run/edgemgr-lab-cgroups.lock")  #: one for all labs: the hierarchies are the whole machine's
LOCK_WAIT_S = 30.0


def make_groups(name: str) -> list[Path]:
    """Make the group of that name in every hierarchy; the folders to join. Repeatable."""
    with exclusive(LOCK, within_s=LOCK_WAIT_S):
        _mount_missing()
        return [_make_group(hierarchy, kind, name) for hierarchy, kind in _hierarchies()]


def remove_groups(name: str, *, within_s: float = 30.0) -> None:
    """Remove the group of that name everywhere, once its processes have ended.

    Raises:
        LabError: E-LAB-CGROUP, processes remain in it.
    """
    deadline = time.monotonic() + within_s
    for hierarchy, _ in _hierarchies():
        group = hierarchy / name
        while group.exists():
            inner = sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True)
            for folder in [*inner, group]:
                with suppress(OSError):  # a process that is just ending keeps its group for a moment
                    folder.rmdir()
            if group.exists():
                if time.monotonic() > deadline:
                    raise LabError(f"the control group {group} is still in use", code="E-LAB-CGROUP")
                time.sleep(0.02)


def unmount_ours() -> None:
    """Unmount the hierarchies that a lab has mounted and none uses any more."""
    with exclusive(LOCK, within_s=LOCK_WAIT_S):
        for line in Path("/proc/mounts").read_text().splitlines():
            source, target, *_ = line.split()
            if source == MARK and not any(path.is_dir() for path in Path(target).iterdir()):
                run_program("umount", target, doing="unmount a control group hierarchy")
                Path(target).rmdir()


def _make_group(hierarchy: Path, kind: str, name: str) -> Path:
    if kind == "cgroup2" and hierarchy == ROOT:
        controllers = (hierarchy / "cgroup.controllers").read_text().split()
        (hierarchy / "cgroup.subtree_control").write_text(" ".join(f"+{controller}" for controller in controllers))
    group = hierarchy / name
    group.mkdir(exist_ok=True)
    if kind == "cgroup" and (group / "cpuset.cpus").exists():
        # A new v1 cpuset is empty, and no process can join an empty one.
        for knob in ("cpuset.cpus", "cpuset.mems"):
            (group / knob).write_text((hierarchy / knob).read_text())
        (group / "cgroup.clone_children").write_text("1")
    return group


def _hierarchies() -> list[tuple[Path, str]]:
    mounts = (line.split() for line in Path("/proc/mounts").read_text().splitlines())
    return [
        (Path(target), kind)
        for _, target, kind, *_ in mounts
        if kind in ("cgroup", "cgroup2") and Path(target).is_relative_to(ROOT)
    ]


def _mount_missing() -> None:
    if any(path == ROOT for path, _ in _hierarchies()):
        return  # v2 alone: nothing can be missing
    for line in Path("/proc/cgroups").read_text().splitlines()[1:]:
        controller, hierarchy, _, enabled = line.split()
        if hierarchy == "0" and enabled == "1":
            target = ROOT / controller
            target.mkdir(exist_ok=True)
            run_program("mount", "-t", "cgroup", "-o", controller, MARK, str(target), doing=f"mount {controller}")
