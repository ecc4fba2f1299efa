"""The light flavour: one sshd in namespaces of its own on the shared tree, and a stand-in for systemctl."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from edgemgr.lab import processes
from edgemgr.lab.network import SiteNetwork
from edgemgr.lab.processes import ProcessIdentity
from edgemgr.lab.site_files import MOUNT_TREE, SiteFiles

PROGRAMS = ("ip", "mount", "nsenter", "unshare")
STAND_IN = Path(__file__).with_name("light_systemd")
STAND_IN_NAMES = ("systemctl", "journalctl", "systemd-run")
STAND_IN_PROGRAM = "#!/usr/bin/python3\nfrom light_systemd.command import main\n\nmain()\n"

#: sshd is process 1 of the site and collects every orphan, as sshd does with all its children.
BOOT = (
    MOUNT_TREE
    + """\
cd "$SITE/root"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount --rbind /sys/fs/cgroup sys/fs/cgroup
mount -t tmpfs -o mode=755,size=4m tmpfs dev
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
for device in 'null c 1 3' 'zero c 1 5' 'full c 1 7' 'random c 1 8' 'urandom c 1 9' 'tty c 5 0'; do
  mknod -m 666 dev/$device
done
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin; ln -s fd/1 dev/stdout; ln -s fd/2 dev/stderr
mount -t tmpfs -o mode=755 tmpfs run
mkdir -p run/sshd run/lock run/systemd/system
hostname "$NAME"
pivot_root . mnt
exec chroot . /bin/sh -c '
  umount -l /mnt
  for unit in /etc/systemd/system/*.wants/*.service; do
    [ -e "$unit" ] && case "$(readlink "$unit")" in /etc/systemd/system/*)
      /usr/bin/systemctl --no-block start "${unit##*/}" ;; esac
  done
  exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin /usr/sbin/sshd -D -e -o UsePAM=no
'
"""
)


def install_stand_in(files: SiteFiles) -> None:
    """Put the stand-in in the place of systemd's own programs, in this site alone."""
    for name in STAND_IN_NAMES:
        files.write(f"usr/bin/{name}", STAND_IN_PROGRAM, mode=0o755)
    for module in STAND_IN.glob("*.py"):
        files.write(f"usr/lib/python3/dist-packages/light_systemd/{module.name}", module.read_text())


def boot(name: str, files: SiteFiles, net: SiteNetwork, *, base: Path) -> ProcessIdentity:
    """Start the site; returns at once, with the process that keeps it."""
    return processes.start(
        [
            "/usr/bin/nsenter", f"--net={net.namespace_path}",
            "/usr/bin/unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child=KILL",
            "--propagation=slave", "/bin/sh", "-c", BOOT,
        ],
        log=files.console,
        variables={"BASE": str(base), "SITE": str(files.folder), "NAME": name},
    )  # fmt: skip


def leader(process: ProcessIdentity) -> int | None:
    """Find the site's process 1, as this machine counts; None until it is in the site's tree.

    Who entered it before that would be in this machine's tree.
    """
    for pid in processes.children(process.pid):
        with suppress(OSError):
            if not (processes.PROC / str(pid) / "root").samefile("/"):
                return pid
    return None
