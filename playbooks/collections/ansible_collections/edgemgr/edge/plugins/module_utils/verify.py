"""Verify: wait, within bounds, until the cluster is what it should be. Changes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ansible_collections.edgemgr.edge.plugins.module_utils import marker, service
from ansible_collections.edgemgr.edge.plugins.module_utils.cluster_verdict import FAILING, Unmet
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import BUDGETED, EdgeError
from ansible_collections.edgemgr.edge.plugins.module_utils.observation import observe

POLL_S = 1.0
HINTS = {
    "E-VERIFY-SERVICE": "Read `journalctl -u k3s` on the node.",
    "E-VERIFY-API": "Read `journalctl -u k3s` on the node.",
    "E-VERIFY-VERSION": "Restart k3s on the node, or bootstrap the site again.",
    "E-VERIFY-NODE": "Look at `edgemgr kubectl SITE -- describe node`.",
    "E-VERIFY-PODS": "Look at `edgemgr kubectl SITE -- get pods -n kube-system`.",
    "E-VERIFY-IMAGES": "The release's image archive lacks these images, or the node's disk is too full to keep them.",
}


def look(site: str, version: str) -> dict[str, Any]:
    """Look once and do not fail: the result for check mode."""
    observation, unmet = observe(site, version, _disabled())
    return {"edge_observation": observation, "edge_unmet": _shown(unmet), "edge_waited_s": 0.0}


def await_health(site: str, version: str, timeout_s: float, still_ours: Callable[[], None]) -> dict[str, Any]:
    """Look until all is well or the time is over (0 s: once). `still_ours` is asked before each look; it may raise.

    Raises:
        EdgeError: something is not well in the end, or k3s keeps crashing; with the Observation.
    """
    disabled = _disabled()
    began_at = time.monotonic()
    crashes_before = service.restarts()
    while True:
        still_ours()
        observation, unmet = observe(site, version, disabled)
        waited_s = time.monotonic() - began_at
        crashes = service.restarts() - crashes_before
        if crashes > 0 and not unmet:
            # It is up at this moment, but was down a moment ago: what is up has to stay up.
            crashes_before += crashes
            unmet = [Unmet("E-VERIFY-SERVICE", "k3s has just restarted by itself", FAILING)]
        if not unmet:
            return {"edge_observation": observation, "edge_waited_s": round(waited_s, 1)}
        if crashes >= service.CRASHES:
            message = f"k3s crashed {crashes} times in {waited_s:.0f} s"
            raise _failure([Unmet("E-VERIFY-SERVICE", message, FAILING), *unmet], observation, waited_s)
        if waited_s >= timeout_s:
            raise _failure(unmet, observation, waited_s)
        time.sleep(POLL_S)


def _disabled() -> set[str]:
    return set((marker.read() or {}).get("disabled_components", []))


def _failure(unmet: list[Unmet], observation: dict[str, Any], waited_s: float) -> EdgeError:
    first = unmet[0]
    return EdgeError(
        first.code,
        first.message,
        HINTS[first.code],
        BUDGETED,
        edge_observation=observation,
        edge_unmet=_shown(unmet),
        edge_waited_s=round(waited_s, 1),
        edge_log=service.log_tail(),
    )


def _shown(unmet: list[Unmet]) -> list[dict[str, str]]:
    return [{"code": each.code, "message": each.message} for each in unmet]
