"""Renewing the leaf certificates of k3s: by a restart, which keeps their keys, or with new keys.

New keys are made by `k3s certificate rotate`, for which k3s must be stopped. Before that `server/tls` is copied: if k3s
does not come up with the new ones, the old ones are put back. The copy is also what tells a later attempt that this
one was cut off; it begins with starting k3s then. Containers go on all the while.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable

from ansible_collections.edgemgr.edge.plugins.module_utils import (
    certificate_renewal,
    converge,
    layout,
    node_certificates,
    service,
)
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import BUDGETED, NEVER, EdgeError
from ansible_collections.edgemgr.edge.plugins.module_utils.kube_api import KubeApi, KubeApiError
from ansible_collections.edgemgr.edge.plugins.module_utils.safe_files import (
    make_directory,
    sync_directory,
    sync_file,
)
from ansible_collections.edgemgr.edge.plugins.module_utils.steps import Steps

ROTATE_TIMEOUT_S = 120
POLL_S = 1.0
#: The API shows a certificate of its own, which k3s renews while it runs; if that one is so old afterwards, it hangs.
LEAST_LEFT_S = 30 * 86400
_MOST_NAMED = 5


def was_cut() -> bool:
    """Whether an earlier rotation was cut off between its copy and its end."""
    return os.path.isdir(_copy())


def finish_cut(version: str, timeout_s: float, steps: Steps) -> None:
    """Bring k3s up again after a rotation that was cut off, with whichever certificates it comes up with."""
    with steps.step("resume"):
        steps.changes.append("start k3s")
        _start_or_go_back(version, timeout_s)
        _drop_copy()


def restart(version: str, timeout_s: float, steps: Steps) -> None:
    """Let k3s renew what is due, with the keys that there are."""
    with steps.step("restart"):
        steps.changes.append("restart k3s")
        converge.bring_up("restart", version, timeout_s)


def rotate(version: str, timeout_s: float, steps: Steps) -> None:
    """Make new keys and certificates for all leaves.

    Raises:
        EdgeError: k3s refused (E-ROTATE-FAILED) or did not come up with them (E-ROTATE-BACK): the old ones are in
            place and k3s runs, or else the code says that it does not start.
    """
    with steps.step("copy"):
        _take_copy()
    with steps.step("rotate"):
        steps.changes += ["stop k3s", "make new keys"]
        service.systemctl("stop", layout.UNIT)
        refusal = _certificate_rotate()
    with steps.step("start"):
        steps.changes.append("start k3s")
        _start_or_go_back(version, timeout_s)
        _drop_copy()
    if refusal:
        raise EdgeError(
            "E-ROTATE-FAILED",
            f"k3s made no new certificates: {refusal}",
            "k3s runs as before; the next attempt tries it again.",
            BUDGETED,
        )


def await_new(
    before: node_certificates.Certificates,
    names: list[str],
    timeout_s: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> node_certificates.Certificates:
    """Read back what these files hold until all are new (agents fetch theirs seconds after the API is up).

    Raises:
        EdgeError: some are as they were (E-ROTATE-STUCK).
    """
    deadline = clock() + timeout_s
    while True:
        after = node_certificates.read()
        old = certificate_renewal.still_old(before, after, names)
        if not old:
            return after
        if clock() >= deadline:
            more = f" and {len(old) - _MOST_NAMED} more" if len(old) > _MOST_NAMED else ""
            raise EdgeError(
                "E-ROTATE-STUCK",
                "k3s did not renew {0}{1}".format(", ".join(old[:_MOST_NAMED]), more),
                "Ask for new keys: `edgemgr certificates rotate SITE --new-keys`.",
                NEVER,
            )
        sleep(POLL_S)


def check_shown(now: float) -> float:
    """When the certificate that the API shows ends, in seconds since 1970.

    It is kept in the datastore and renewed while k3s runs, apart from the files (k3s issues 5163 and 8762).

    Raises:
        EdgeError: the API does not answer (E-VERIFY-API), or it ends soon (E-ROTATE-STUCK).
    """
    try:
        ends = KubeApi().certificate_expires_at()
    except KubeApiError as exc:
        raise EdgeError("E-VERIFY-API", str(exc), "Read `journalctl -u k3s` on the node.") from exc
    if ends - now < LEAST_LEFT_S:
        raise EdgeError(
            "E-ROTATE-STUCK",
            f"the API goes on showing a certificate that ends on {certificate_renewal.day(ends)}",
            "On the node delete the secret k3s-serving in kube-system and server/tls/dynamic-cert.json, restart k3s.",
            NEVER,
        )
    return ends


def _certificate_rotate() -> str:
    """Run it; what k3s said if it refused, else nothing."""
    try:
        done = subprocess.run(
            [layout.K3S, "certificate", "rotate"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            universal_newlines=True,
            errors="replace",
            timeout=ROTATE_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:  # k3s has to be started again all the same
        return str(exc)
    said = done.stdout.strip().rpartition("\n")[2]
    return "" if done.returncode == 0 else (said[:300] or f"it ended with {done.returncode}")


def _start_or_go_back(version: str, timeout_s: float) -> None:
    try:
        converge.bring_up("start", version, timeout_s)
    except EdgeError as exc:
        service.systemctl("stop", layout.UNIT)
        _put_back()
        converge.bring_up("start", version, timeout_s)
        _drop_copy()
        raise EdgeError(
            "E-ROTATE-BACK",
            f"k3s did not come up with its new certificates, so the old ones were put back: {exc.message}",
            "k3s runs as before. Read `journalctl -u k3s` on the node before you try again.",
            NEVER,
        ) from exc


def _tls() -> str:
    return layout.DATA_DIR + "/server/tls"


def _copy() -> str:
    return layout.STATE_DIR + "/rotation/tls"


def _take_copy() -> None:
    """Once: the copy of a rotation that was cut off is of the time before it."""
    if was_cut():
        return
    place = os.path.dirname(_copy())
    make_directory(place, 0o700)
    _copy_tree(_tls(), place + "/.tls.edgemgr-new")
    os.rename(place + "/.tls.edgemgr-new", _copy())
    sync_directory(place)


def _put_back() -> None:
    server = os.path.dirname(_tls())
    _copy_tree(_copy(), server + "/.tls.edgemgr-new")
    shutil.rmtree(server + "/.tls.edgemgr-failed", ignore_errors=True)
    if os.path.isdir(_tls()):
        os.rename(_tls(), server + "/.tls.edgemgr-failed")
    os.rename(server + "/.tls.edgemgr-new", _tls())
    sync_directory(server)


def _copy_tree(source: str, target: str) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, symlinks=True)
    for directory, _, names in os.walk(target):
        for name in names:
            path = os.path.join(directory, name)
            if not os.path.islink(path):
                sync_file(path)
        sync_directory(directory)


def _drop_copy() -> None:
    """The old keys go; k3s keeps a copy of its own beside its directory."""
    shutil.rmtree(os.path.dirname(_copy()), ignore_errors=True)
    shutil.rmtree(os.path.dirname(_tls()) + "/.tls.edgemgr-failed", ignore_errors=True)
