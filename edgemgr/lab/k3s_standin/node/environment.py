"""What the stand-in takes from its environment, and where its files lie."""

from __future__ import annotations

import os
from pathlib import Path


def variable(name: str) -> str:
    """An environment variable, or an empty text."""
    return os.environ.get(name, "")


def take_variable(name: str) -> str:
    """An environment variable that no child program may see."""
    return os.environ.pop(name, "")


def below_root(path: str) -> Path:
    """An absolute path of the site. Tests put another root in front of all of them."""
    return Path(variable("K3S_STANDIN_ROOT") or "/") / path.lstrip("/")


CONFIG_DIR = "/etc/rancher/k3s"
DATA_DIR = "/var/lib/rancher/k3s"
KUBECONFIG = f"{CONFIG_DIR}/k3s.yaml"
NODE_PASSWORD = "/etc/rancher/node/password"  # noqa: S105 — a path
RUN_DIR = "/run/k3s"


def write_private(path: Path, content: str | bytes, mode: int = 0o600) -> None:
    """Write a whole file by rename, never readable by others in between."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.tmp")
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:  # noqa: PTH123 — a descriptor
        file.write(content.encode() if isinstance(content, str) else content)
    beside.chmod(mode)
    beside.replace(path)
