"""What the API says of itself: its version, its groups, and the kinds in them."""

from __future__ import annotations

from .built import COMMIT, VERSION
from .kinds import KINDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update"]
_PROBES = (
    "ping",
    "log",
    "etcd",
    "poststarthook/start-apiserver-admission-initializer",
    "poststarthook/rbac/bootstrap-roles",
)


def version_info() -> dict[str, str]:
    """The answer of /version."""
    major, minor, _ = VERSION.lstrip("v").split(".", 2)
    return {
        "major": major,
        "minor": minor,
        "gitVersion": VERSION,
        "gitCommit": COMMIT * 5,
        "gitTreeState": "clean",
        "buildDate": "1980-01-01T00:00:00Z",
        "goVersion": "go1.x (edgemgr lab stand-in, not k3s)",
        "compiler": "gc",
        "platform": "linux/amd64",
    }


def probe_text(path: str) -> str:
    """The answer of /readyz?verbose and its like."""
    return "".join(f"[+]{name} ok\n" for name in _PROBES) + f"{path.strip('/')} check passed\n"


def api_versions(address: str) -> dict[str, Any]:
    """The answer of /api."""
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    }


def api_groups() -> dict[str, Any]:
    """The answer of /apis."""
    groups = dict.fromkeys((kind.group, kind.version) for kind in KINDS if kind.group)
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [api_group(*group) for group in groups]}


def api_group(group: str, version: str) -> dict[str, Any]:
    """The answer of /apis/GROUP."""
    known = {"groupVersion": f"{group}/{version}", "version": version}
    return {"kind": "APIGroup", "apiVersion": "v1", "name": group, "versions": [known], "preferredVersion": known}


def resource_list(group: str, version: str) -> dict[str, Any] | None:
    """The answer of /api/v1 and /apis/GROUP/VERSION; None when there is no such group."""
    kinds = [kind for kind in KINDS if (kind.group, kind.version) == (group, version)]
    if not kinds:
        return None
    resources = [
        {
            "name": kind.plural,
            "singularName": kind.kind.lower(),
            "namespaced": kind.namespaced,
            "kind": kind.kind,
            "verbs": _VERBS,
            **({"shortNames": [kind.short]} if kind.short else {}),
        }
        for kind in kinds
    ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": kinds[0].api_version, "resources": resources}
