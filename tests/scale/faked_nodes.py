"""Nodes that do nothing, at once: their Python is a shell script that swallows the module and prints a canned result.

sshd, the login, sudo and the connection are real; so the controller's own cost shows, and its limit. The one result
satisfies edgemgr's module and every module of `many_small_tasks.yml` alike.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from edgemgr.lab.lab import Lab
from edgemgr.lab.offered_release import STANDIN_VERSION
from edgemgr.lab.simulated_site import SimulatedSite

PYTHONS = "/usr/bin/python3*"  #: ansible-core looks for the numbered ones first
FAKE = "/usr/lib/edgemgr-bench-python"
RESULT = "/usr/lib/edgemgr-bench-result.json"
#: Pipelined, the module comes by standard input and there is no argument; otherwise it lies in a file.
SCRIPT = f"""\
#!/bin/sh
[ $# -gt 0 ] || cat >/dev/null
exec cat {RESULT}
"""


def result(name: str) -> dict[str, Any]:
    """What a healthy node would report, and what the builtin modules of the small tasks return."""
    nodes = {"items": [{"status": {"conditions": [{"type": "Ready", "status": "True"}]}}], "version": STANDIN_VERSION}
    return {
        "changed": False,
        "edge_observation": {
            "health": "healthy",
            "health_reason": "",
            "k3s_version": STANDIN_VERSION,
            "kubelet_version": STANDIN_VERSION,
            "node_name": name,
            "node_ready": True,
            "pods_ready": 5,
            "pods_total": 5,
            "cluster_id": "00000000-0000-4000-8000-000000000000",
            "certificate_expires_at": "2027-01-01T00:00:00Z",
            "os": "Debian GNU/Linux 12 (bookworm)",
            "kernel": "6.1.0",
            "arch": "amd64",
            "cpus": 4,
            "memory_bytes": 4 << 30,
            "disk_free_bytes": 20 << 30,
            "disk_size_bytes": 32 << 30,
            "boot_at": "2026-01-01T00:00:00Z",
            "python": "3.11.2",
            "checked_at": "2026-01-01T00:00:00Z",
        },
        "edge_checks": [{"check": f"check-{n}", "verdict": "pass", "detail": "as it should be"} for n in range(18)],
        "edge_refusals": [],
        "edge_waited_s": 0.0,
        "edge_changes": [],
        "edge_steps": [
            {"step": step, "seconds": 0.01, "changed": False} for step in ("preflight", "converge", "verify")
        ],
        "ansible_facts": {"os_family": "Debian", "architecture": "x86_64", "memtotal_mb": 4096},
        "stat": {"exists": False},
        "rc": 0,
        "stdout": json.dumps(nodes),
        "stderr": "",
        "status": {"ActiveState": "active"},
        "state": "file",
        "checksum": "",
    }


def fake(lab: Lab, sites: Sequence[SimulatedSite]) -> None:
    """Fake these nodes of a lab, past their SSH."""

    script = (
        f'cat >{RESULT}; printf %s "$1" >{FAKE}; chmod 755 {FAKE}; for each in {PYTHONS}; do ln -sf {FAKE} $each; done'
    )

    def one(site: SimulatedSite) -> None:
        done = lab.run(site.name, ["sh", "-ec", script, "sh", SCRIPT], input_text=json.dumps(result(site.name)))
        assert done.returncode == 0, f"{site.name}: {done.stderr}"

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, sites))


def small_files(directory: Path) -> dict[str, str]:
    """The variables of the small tasks with files of a few bytes: nobody counts the transfer of bytes here."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("k3s", "images.tar"):
        (directory / name).write_text("nothing\n")
    return {
        "bench_binary": str(directory / "k3s"),
        "bench_images": str(directory / "images.tar"),
        "bench_images_name": "images.tar",
    }
