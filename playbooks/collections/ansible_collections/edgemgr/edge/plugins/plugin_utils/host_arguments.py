"""A module's arguments out of a site's host variables.

They are taken as they stand in the inventory: nothing here is a template, whatever it holds. That is what makes them
harmless, and a template for each of a dozen arguments would cost the controller more than the rest of the task.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_RESET = {"attempt": "edge_attempt", "fence_wait_s": "edge_fence_wait_s"}
_BOOTSTRAP = {
    **_RESET,
    "site": "edge_site",
    "version": "edge_k3s_version",
    "arch": "edge_arch",
    "artifacts": "edge_artifacts",
    "config": "edge_k3s_config",
    "order_key": "edge_order_key",
    "min_free_mib": "edge_min_free_mib",
    "min_memory_mib": "edge_min_memory_mib",
    "clock_skew_s": "edge_clock_skew_s",
    "start_timeout_s": "edge_start_timeout_s",
    "verify_timeout_s": "edge_verify_timeout_s",
}
_REPORT = {"site": "edge_site", "version": "edge_k3s_version", "timeout_s": "edge_verify_timeout_s"}
_BACKUP = {
    **_RESET,
    "number": "edge_first_attempt",
    "site": "edge_site",
    "keep": "edge_backup_keep",
    "min_free_mib": "edge_min_free_mib",
}
_RESTORE = {
    **{name: variable for name, variable in _BOOTSTRAP.items() if name not in ("config", "order_key")},
    "number": "edge_first_attempt",
    "backup_attempt": "edge_backup_attempt",
    "backup_digest": "edge_backup_digest",
}
_UPGRADE = {
    **_RESET,
    "operation": "edge_operation",
    "site": "edge_site",
    "version": "edge_k3s_version",
    "refusal": "edge_refusal",
    "opens_in_s": "edge_opens_in_s",
    "hops": "edge_hops",
    "checks": "edge_site_checks",
    "soak_s": "edge_soak_s",
    "start_timeout_s": "edge_start_timeout_s",
    "verify_timeout_s": "edge_settle_timeout_s",
    "deadline_s": "edge_hop_deadline_s",
    "wait_s": "edge_wait_s",
    "min_free_mib": "edge_min_free_mib",
    "min_memory_mib": "edge_min_memory_mib",
    "clock_skew_s": "edge_clock_skew_s",
}
_ROTATE = {
    **_RESET,
    "site": "edge_site",
    "new_keys": "edge_new_keys",
    "start_timeout_s": "edge_start_timeout_s",
    "verify_timeout_s": "edge_verify_timeout_s",
}
_ROTATE_TOKEN = {
    **_RESET,
    "number": "edge_first_attempt",
    "site": "edge_site",
    "min_free_mib": "edge_min_free_mib",
    "start_timeout_s": "edge_start_timeout_s",
    "verify_timeout_s": "edge_verify_timeout_s",
}
_TIDY = {
    **_RESET,
    "site": "edge_site",
    "vacuum": "edge_vacuum",
    "min_free_mib": "edge_min_free_mib",
    "start_timeout_s": "edge_start_timeout_s",
    "verify_timeout_s": "edge_verify_timeout_s",
}
#: module → argument → host variable
VARIABLES = {
    "backup": _BACKUP,
    "bootstrap": _BOOTSTRAP,
    "report": _REPORT,
    "reset": _RESET,
    "restore": _RESTORE,
    "rotate_certificates": _ROTATE,
    "rotate_token": _ROTATE_TOKEN,
    "tidy": _TIDY,
    "upgrade": _UPGRADE,
}


def arguments(module: str, given: Mapping[str, Any], host: Mapping[str, Any]) -> dict[str, Any]:
    """What the task gives, and for the rest what the host has; what neither has is left to the module."""
    found = {name: host[variable] for name, variable in VARIABLES[module].items() if variable in host}
    return {**found, **given}
