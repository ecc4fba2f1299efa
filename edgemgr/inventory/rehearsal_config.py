"""The configuration of a rehearsal: what of the node's own decides whether the cluster can be read, and no more.

Kept are the options that belong to what lies in the datastore: the ranges and the domain of the cluster, and whether
secrets are encrypted. All others stay behind. They say how the node reaches others (addresses, ports, registries), what
runs there, or name files and programs: a site must not be able to have this appliance open or run anything. A datastore
elsewhere cannot be meant, as there is no backup of one.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

import yaml

#: Options of `k3s server` (docs.k3s.io, cli/server: those that must be the same for the whole cluster).
_KEPT = (
    "cluster-cidr",
    "cluster-dns",
    "cluster-domain",
    "secrets-encryption",
    "secrets-encryption-provider",
    "service-cidr",
    "service-node-port-range",
)
_VALUE = re.compile(r"[A-Za-z0-9.:/,-]{1,200}")

#: What a rehearsed node is called by; both are for documentation and lead nowhere (RFC 5737, RFC 3849).
_ADDRESSES = {4: "203.0.113.254", 6: "2001:db8::fe"}
_LOOPBACK = {4: "127.0.0.1", 6: "::1"}


@dataclass(frozen=True)
class RehearsalConfig:
    """How k3s is started."""

    text: str  #: config.yaml
    addresses: tuple[str, ...]  #: of the node, the first counts
    loopback: str  #: where the API is asked


def rehearsal_config(site: str, files: Mapping[str, bytes]) -> RehearsalConfig:
    """Make it from the files of a backup.

    Args:
        site: which is the node's name.
        files: the configuration of the node, by its name in the backup. What cannot be read is passed over: the checks
            have said so already.
    """
    kept = {name: value for name, value in _merged(files).items() if name in _KEPT}
    families = _families(kept.get("cluster-cidr"))
    addresses = tuple(_ADDRESSES[family] for family in families)
    config: dict[str, object] = {
        **kept,
        "disable-agent": True,
        "etcd-disable-snapshots": True,
        "node-ip": ",".join(addresses),
        "node-name": site,
    }
    lines = [f"{name}: {json.dumps(value)}\n" for name, value in sorted(config.items())]
    return RehearsalConfig("".join(lines), addresses, _LOOPBACK[families[0]])


def _merged(files: Mapping[str, bytes]) -> dict[str, object]:
    """The file, then those of config.yaml.d by name; a later one wins, and `key+` adds (docs.k3s.io, configuration)."""
    ordered = [name for name in ("config/config.yaml",) if name in files]
    ordered += sorted(name for name in files if re.fullmatch(r"config/config\.yaml\.d/[^/]+\.ya?ml", name))
    found: dict[str, object] = {}
    for name in ordered:
        try:
            content = yaml.safe_load(files[name])
        except (yaml.YAMLError, ValueError, RecursionError):
            continue
        for key, value in content.items() if isinstance(content, dict) else ():
            plain = _plain(value)
            if isinstance(key, str) and plain is not None:
                bare = key.removesuffix("+")
                old = found.get(bare)
                found[bare] = f"{old},{plain}" if key.endswith("+") and isinstance(old, str) else plain
    return found


def _plain(value: object) -> str | bool | None:
    """A switch, or texts joined by commas, as k3s takes them too; None for what no kept option can be."""
    if isinstance(value, bool):
        return value
    texts = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str | int) for text in texts):
        return None
    joined = ",".join(part.strip() for text in texts for part in str(text).split(","))
    return joined if _VALUE.fullmatch(joined) else None


def _families(ranges: object) -> list[int]:
    """The kinds of addresses that pods have, in their order; a node needs one of each."""
    found: list[int] = []
    for each in ranges.split(",") if isinstance(ranges, str) else ():
        try:
            found.append(ipaddress.ip_network(each.strip(), strict=False).version)
        except ValueError:
            continue
    return list(dict.fromkeys(found)) or [4]
