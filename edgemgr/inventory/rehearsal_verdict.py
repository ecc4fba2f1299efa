"""What a start in namespaces came to: pure rules over what was seen there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgemgr.inventory.rehearsal_faults import RehearsalError, did_not_start

_LINE_CHARS = 300
_LINES = 30
_FATAL = re.compile(r"\blevel=(?:fatal|panic)\b|^F\d{4} |^panic: ")  # logrus; klog; Go itself
_ERROR = re.compile(r"\blevel=error\b|^E\d{4} ")
_LOGRUS = re.compile(r'\bmsg=("(?:[^"\\]|\\.)*")')
_KLOG = re.compile(r"^[IWEF]\d{4} \S+ +\d+ [^\]]+\] (.*)")


@dataclass(frozen=True)
class Started:
    """A backup on which k3s has started."""

    seconds: float  #: until the API was ready
    listed: dict[str, int]  #: kind → how many objects of it the API listed


def judge(
    report: Mapping[str, Any],
    *,
    identity: bytes | None,
    redact: Callable[[str], str],
    start_timeout_s: float,
) -> Started:
    """Make the verdict.

    Args:
        report: of `rehearsal_inside`.
        identity: the namespace kube-system as the backup's datastore has it; None where nobody can tell.
        redact: takes the cluster's secrets out of a text.
        start_timeout_s: how long k3s was given.

    Raises:
        RehearsalError: k3s ended (E-REHEARSE-ENDED), was not ready in time (E-REHEARSE-TIMEOUT), did not make etcd from
            the snapshot (E-REHEARSE-ETCD), did not give its objects (E-REHEARSE-API), or is another cluster
            (E-REHEARSE-IDENTITY).
    """
    log = tuple(redact(line) for line in report["log"])
    said = redact(str(report["said"]))[:_LINE_CHARS]
    last = telling_line(log)

    def fault(code: str, why: str) -> RehearsalError:
        return did_not_start(code, why, log[-_LINES:])

    match report["outcome"]:
        case "ended":
            raise fault("E-REHEARSE-ENDED", f"k3s ended with status {report['status']}: {last}")
        case "reset":
            raise fault("E-REHEARSE-ETCD", f"k3s did not make its etcd from the snapshot: {last}")
        case "late":
            because = f" ({said})" if said else ""
            raise fault(
                "E-REHEARSE-TIMEOUT", f"k3s was not ready within {start_timeout_s:g} s{because}; it last said: {last}"
            )
        case "refused":
            raise fault("E-REHEARSE-API", f"k3s started, but does not give its objects: {said}")
    if identity is not None and not _names(identity, str(report["cluster_id"])):
        raise fault("E-REHEARSE-IDENTITY", "what started is another cluster than the one that was saved")
    return Started(float(report["ready_s"]), {str(name): int(count) for name, count in report["listed"].items()})


def telling_line(log: Sequence[str]) -> str:
    """What of k3s' log says most: its last fatal line, else its last error, else its last line."""
    lines = [line for line in log if line.strip()]
    for kind in (_FATAL, _ERROR):
        found = [line for line in lines if kind.search(line)]
        if found:
            return _message(found[-1])
    return _message(lines[-1]) if lines else "it logged nothing"


def _message(line: str) -> str:
    """A line without its time and place."""
    if match := _LOGRUS.search(line):
        try:
            return str(json.loads(match[1]))[:_LINE_CHARS]
        except ValueError:
            return match[1].strip('"')[:_LINE_CHARS]
    match = _KLOG.match(line)
    return (match[1] if match else line).strip()[:_LINE_CHARS]


def _names(identity: bytes, cluster_id: str) -> bool:
    """Kubernetes writes the uid as text into what it stores, be that JSON or protobuf."""
    return bool(cluster_id) and cluster_id.encode() in identity
