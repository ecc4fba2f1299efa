"""Faults on demand: what goes wrong with this node, from the release, a file or the unit's environment."""

from __future__ import annotations

from .built import BAKED_FAULTS
from .environment import CONFIG_DIR, below_root, variable
from .journal import FatalError, log
from .yaml_subset import documents

FAULTS = {
    "start_delay_s": "seconds that pass before anything is done",
    "ready_delay_s": "further seconds between the node's registration and Ready",
    "crash": "the program ends with an error so many seconds after its start; 0 never",
    "never_ready": "1: the node stays NotReady",
    "lose_workload": "1: pods outside kube-system do not start any more (CrashLoopBackOff)",
    "fill_disk": "MiB that are written into the data directory at start",
    "token_cut": "the end in the middle of a token's rotation: 1 after the passwords, 2 the file, 3, 4 the two seals",
}


def read_faults() -> dict[str, float]:
    """All faults in force. The environment (`K3S_STANDIN_CRASH=3`) wins over standin.yaml, that over the release.

    Raises:
        FatalError: a value is no number.
    """
    path = below_root(f"{CONFIG_DIR}/standin.yaml")
    try:
        written = (documents(path.read_text())[0] if path.exists() else None) or {}
        found = {name: float(written.get(name, BAKED_FAULTS.get(name, 0.0))) for name in FAULTS}
        for name in FAULTS:
            if text := variable(f"K3S_STANDIN_{name.upper()}"):
                found[name] = float(text)
    except (OSError, ValueError, TypeError, AttributeError) as exc:
        raise FatalError(f"the faults of the stand-in cannot be read: {exc}") from exc
    for name in written.keys() - FAULTS.keys():
        log("warning", f"standin.yaml: unknown fault {name}, skipping")
    return found
