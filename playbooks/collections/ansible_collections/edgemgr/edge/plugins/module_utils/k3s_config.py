"""config.yaml of k3s: what edgemgr always sets, what a profile may add, and what neither may.

k3s before v1.22 ends with `flag provided but not defined` at a key that it does not know, so nothing is written that
the version at hand does not have.
"""

from __future__ import annotations

import json
import re
from typing import Any

from ansible_collections.edgemgr.edge.plugins.module_utils.k3s_version import K3sVersion, knows_strict_registries

HEADER = "# Written by edgemgr; a change made here is undone by the next bootstrap. Use `edgemgr bootstrap --config`.\n"

#: What YAML 1.1 reads as true, false or nothing unless it is quoted (yaml.org/type/bool.html, null.html).
_WORDS = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null"))
_KEY = re.compile(r"[a-z0-9][a-z0-9-]*\+?", re.ASCII)

#: Keys that edgemgr needs for itself, with the reason that a refusal gives.
RESERVED = {
    "node-name": "it is the site's name",
    "data-dir": "backup, verify and reset rely on its place",
    "config": "edgemgr writes the one file",
    "write-kubeconfig": "edgemgr reads it in its usual place",
    "server": "a site is a cluster of its own",
    "cluster-init": "the datastore of a single node is SQLite",
    "cluster-reset": "it would be repeated at every start",
    "cluster-reset-restore-path": "it would be repeated at every start",
    "disable-agent": "the one node has to run the workloads",
    "docker": "images are placed for the built-in containerd",
    "rootless": "k3s runs as a system service",
}
#: Keys that carry secrets, which a configuration shown in logs and consoles must not.
SECRET = ("token", "token-file", "agent-token", "datastore-endpoint", "vpn-auth", "etcd-s3-secret-key")


def faults(extra: dict[str, Any]) -> list[str]:
    """What is wrong with the keys that a profile adds: sentences, empty when all is well."""
    found = []
    for key, value in sorted(extra.items()):
        name = key.rstrip("+")
        if not _KEY.fullmatch(key):
            found.append(f"{key!r} is no k3s option")
        elif name in RESERVED:
            found.append(f"{name} may not be set: {RESERVED[name]}")
        elif name in SECRET:
            found.append(f"{name} may not be set: it is or names a secret")
        elif not _is_plain(value):
            found.append(f"{name} must be a text, a number, true, false or a list of such")
    return found


def desired(site: str, version: K3sVersion, extra: dict[str, Any]) -> dict[str, Any]:
    """The whole configuration of a site as a dict; `version` is a K3sVersion."""
    config = {"write-kubeconfig-mode": "0600", "secrets-encryption": True}
    if knows_strict_registries(version):
        config["disable-default-registry-endpoint"] = True
    config.update(extra)
    config["node-name"] = site
    return config


def render(config: dict[str, Any]) -> str:
    """The file's text: every value as JSON, which is YAML without its surprises (`no`, `1e3`, `012`)."""
    lines = []
    for name in sorted(config):
        value = config[name]
        key = _scalar(name) if name in _WORDS or name[0].isdigit() else name
        if isinstance(value, list) and value:
            lines.append(f"{key}:")
            lines.extend(f"  - {_scalar(each)}" for each in value)
        else:
            lines.append("{0}: {1}".format(key, "[]" if value == [] else _scalar(value)))
    return HEADER + "\n".join(lines) + "\n"


def disabled_components(config: dict[str, Any]) -> set[str]:
    """The packaged components that the configuration leaves out."""
    names: set[str] = set()
    for key in ("disable", "disable+"):
        value = config.get(key, [])
        for each in value if isinstance(value, list) else [value]:
            names.update(part.strip() for part in str(each).split(","))
    if config.get("disable-helm-controller") is True:
        names.add("traefik")  # k3s installs it by a HelmChart
    return names


def _scalar(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(isinstance(each, (str, int, float)) and _is_one_line(each) for each in value)
    return isinstance(value, (str, int, float)) and _is_one_line(value)


def _is_one_line(value: Any) -> bool:
    return not isinstance(value, str) or value.isprintable()
