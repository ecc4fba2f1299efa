"""`k3s ctr` and `k3s crictl`: images and containers, without going through the API."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .containers import Containers
from .environment import DATA_DIR, RUN_DIR, below_root
from .images import ImageStore, ImportFailedError, read_archive
from .journal import timestamp
from .kubectl_print import columns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def ctr(arguments: Sequence[str]) -> int:
    """`ctr [-n k8s.io] images ls [-q] | import FILE | rm NAME...`; the exit status."""
    words = _without_options(arguments, ("-n", "--namespace", "-a", "--address", "--platform"))
    if not _is_running():
        sys.stderr.write(f'ctr: failed to dial "{RUN_DIR}/containerd/containerd.sock": connection refused\n')
        return 1
    store = ImageStore(below_root(DATA_DIR))
    group, command, names = (*words[:2], "", "")[0], (*words[1:2], "")[0], words[2:]
    if group not in ("images", "image", "i"):
        sys.stderr.write(f"ctr: the stand-in for k3s offers images only, not {group}\n")
        return 1
    if command in ("ls", "list"):
        quiet = "-q" in arguments or "--quiet" in arguments
        rows = [[name, entry["digest"], str(entry["size"])] for name, entry in sorted(store.all().items())]
        sys.stdout.write(
            "".join(f"{row[0]}\n" for row in rows) if quiet else columns([["REF", "DIGEST", "SIZE"], *rows])
        )
    elif command == "import" and names:
        try:
            images = read_archive(Path(names[-1]))
        except ImportFailedError as exc:
            sys.stderr.write(f"ctr: {exc}\n")
            return 1
        store.add(images)
        sys.stdout.write("".join(f"unpacking {name} ({entry['digest']})...done\n" for name, entry in images.items()))
    elif command in ("rm", "remove", "delete") and names:
        store.remove(names)
        sys.stdout.write("".join(f"{name}\n" for name in names))
    else:
        sys.stderr.write("ctr: the stand-in for k3s offers images ls, import and rm\n")
        return 1
    return 0


def crictl(arguments: Sequence[str]) -> int:
    """`crictl ps | pods | images`; the exit status."""
    words = _without_options(arguments, ("-o", "--output", "-r", "--runtime-endpoint"))
    if not _is_running():
        sys.stderr.write('level=fatal msg="validate service connection: connection refused"\n')
        return 1
    data_dir = below_root(DATA_DIR)
    if words[:1] in (["images"], ["image"]):
        names = [name.rpartition(":") for name in sorted(ImageStore(data_dir).all())]
        sys.stdout.write(columns([["IMAGE", "TAG"], *([name, tag] for name, _, tag in names)]))
    elif words[:1] in (["ps"], ["pods"]):
        rows = [["CONTAINER", "IMAGE", "CREATED", "STATE", "NAME", "ATTEMPT", "POD ID", "POD", "NAMESPACE"]]
        for uid, entry in Containers(data_dir).running().items():
            created, place = timestamp(entry["created"]), [uid[:13], entry["pod"], entry["namespace"]]
            for name, image in entry["containers"]:
                rows.append([entry["id"][:13], image, created, "Running", name, str(entry["attempt"]), *place])
        sys.stdout.write(columns(rows))
    else:
        sys.stderr.write("crictl: the stand-in for k3s offers ps, pods and images\n")
        return 1
    return 0


def _without_options(arguments: Sequence[str], with_value: tuple[str, ...]) -> list[str]:
    words, rest = [], list(arguments)
    while rest:
        word = rest.pop(0)
        if word in with_value:
            del rest[:1]
        elif not word.startswith("-"):
            words.append(word)
    return words


def _is_running() -> bool:
    """Whether a server runs on this node: containerd is a part of it."""
    path = below_root(f"{RUN_DIR}/standin.pid")
    try:
        pid = path.read_text().strip()
        return b"server" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") and os.path.isdir(f"/proc/{pid}/fd")  # noqa: PTH112
    except OSError:
        return False
