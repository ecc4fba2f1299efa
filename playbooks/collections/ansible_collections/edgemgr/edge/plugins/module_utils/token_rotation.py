"""A new token for k3s, and the way back to the old one.

The running k3s draws the new one itself and seals its datastore with it (`k3s token rotate` without `--new-token`);
that is several writes of its own, and a node that loses its power between them is left with a token and a datastore
that do not fit. So both are copied first and a record is written; whoever comes next goes on or back, by what lies
there. No token is ever the argument of a program, or part of what is told: the command reads the present one from
k3s' own file, and what it says is held against both before it is repeated.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from typing import Any, NoReturn

from ansible_collections.edgemgr.edge.plugins.module_utils import (
    activation_workloads,
    converge,
    layout,
    node_datastore,
    node_facts,
    service,
    token_journal,
    token_record,
    token_state,
)
from ansible_collections.edgemgr.edge.plugins.module_utils.activation_cluster import LocalCluster
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import BUDGETED, NEVER, EdgeError
from ansible_collections.edgemgr.edge.plugins.module_utils.kube_api import KubeApi, KubeApiError
from ansible_collections.edgemgr.edge.plugins.module_utils.safe_files import sha256_of
from ansible_collections.edgemgr.edge.plugins.module_utils.steps import Steps

ROTATE_TIMEOUT_S = 120
POLL_S = 1.0
#: After so long k3s has written what nobody may lose, also where it has not been started since.
LONG_AGO_S = 900.0
#: A look at a cluster of which nothing is known: only the API, the node and the system's workloads count then.
NOTHING: dict[str, Any] = {"unmet": [], "workloads": {}, "helm": [], "images": [], "dns": False}
_NAMED = 5
_IDENTITY = "/api/v1/namespaces/kube-system"


class Rotation:
    """One operation's rotation; `number` is the same in all of its attempts, and becomes the new token's."""

    def __init__(self, params: dict[str, Any], version: str, steps: Steps) -> None:
        self.number = int(params["number"] or params["attempt"])
        self._site, self._version, self._steps = str(params["site"]), version, steps
        self._start_s, self._verify_s = float(params["start_timeout_s"]), float(params["verify_timeout_s"])

    def is_done(self) -> bool:
        """Whether an earlier attempt of this operation has brought it to its end."""
        record = token_journal.read() or {}
        return (record.get("number"), record.get("state")) == (self.number, token_journal.DONE)

    def finish_cut(self) -> bool:
        """Bring a rotation that was cut off to its end; whether it was this one, and there is a new token.

        That may be days ago. So a k3s that comes up with its new token keeps it, whatever became of its workloads, and
        a datastore on which k3s has run since then is never put back.

        Raises:
            EdgeError: k3s does not come up (as `rotate`, or as `converge.bring_up`).
        """
        record = token_journal.read()
        if record is None or record["state"] != token_journal.BEGUN:
            token_journal.drop_copies()  # of one that was cut off before it began
            return False
        with self._steps.step("resume"):
            has_run = _has_run_since()
            if has_run and token_state.compare(record["datastore"]) == token_state.MIXED:
                raise _runs_unfit()
            self._stop()  # what was asked of it then may still be going on
            if token_state.compare(record["datastore"]) == token_state.NEW and self._goes_on(record, has_run):
                self._end(record)
                return bool(record["number"] == self.number)
            if token_state.compare(record["datastore"]) != token_state.OLD:
                self._stop()
                self._put_back(record)
            self._start_as_before(dict(record, before=NOTHING))
            return False

    def _goes_on(self, record: dict[str, Any], has_run: bool) -> bool:
        """Start k3s with the new token that lies there; whether it comes up.

        Raises:
            EdgeError: it does not, and has run with it before (as `converge.bring_up`).
        """
        self._steps.changes.append("start k3s")
        if not has_run:
            return not self._come_up("start", record)
        converge.bring_up("start", self._version, self._start_s)
        self._await_well({"before": NOTHING}, is_back=False)
        return True

    def rotate(self) -> None:
        """Give k3s a new token; the caller holds the fence.

        Raises:
            EdgeError: k3s made none and runs as before (E-TOKEN-FAILED); it did not come through with it and has the
                old one again (E-TOKEN-BACK), or does not come up with that one either (E-TOKEN-HANDS).
        """
        with self._steps.step("copy"):
            record = self._begin()
        with self._steps.step("rotate"):
            self._steps.changes.append("make a new token")
            refusal = _token_rotate()
        if refusal:
            self._after_refusal(record, refusal)
            return
        if token_state.compare(record["datastore"]) != token_state.NEW:
            self._go_back(record, "k3s says that it has a new token, but token and datastore do not fit")
        with self._steps.step("restart"):
            self._go_on(record, "restart")

    def _begin(self) -> dict[str, Any]:
        """Look, copy, and note both: from here on whoever comes next has to end it."""
        kind = node_datastore.kind() or ""
        record = {
            "number": self.number,
            "datastore": kind,
            "before": LocalCluster().look(self._site, self._version),
            "cluster_id": _cluster_id(),
            "authority": _authority(),
        }
        try:
            token_state.take(kind, self.number)
            token_journal.write(record, token_journal.BEGUN)
        except Exception:
            token_journal.drop_copies()  # the disk may be full of it
            raise
        return record

    def _after_refusal(self, record: dict[str, Any], refusal: str) -> None:
        """k3s may have ended in the middle of it, or may still be at it: it is stopped, then what lies there counts.

        Raises:
            EdgeError: as `rotate`.
        """
        with self._steps.step("settle"):
            self._stop()
            state = token_state.compare(record["datastore"])
            if state == token_state.NEW:
                self._go_on(record, "start")
                return
            if state == token_state.OLD:
                self._start_as_before(record)
                raise EdgeError(
                    "E-TOKEN-FAILED",
                    f"k3s made no new token: {refusal}",
                    "k3s runs as before; the next attempt tries it again.",
                    BUDGETED,
                    edge_log=service.log_tail(),
                )
        self._go_back(record, f"k3s was stopped in the middle of it: {refusal}")

    def _go_on(self, record: dict[str, Any], verb: str) -> None:
        """Start k3s with the new token, see that all is as it was, and end the rotation; or go back."""
        self._steps.changes.append(verb + " k3s")
        why = self._come_up(verb, record)
        if why:
            self._go_back(record, why)
        self._end(record)

    def _end(self, record: dict[str, Any]) -> None:
        token_record.note(record["number"])
        token_journal.end(record, token_journal.DONE)

    def _go_back(self, record: dict[str, Any], why: str) -> NoReturn:
        log = service.log_tail()
        with self._steps.step("back"):
            self._stop()
            self._put_back(record)
            left = self._start_as_before(record)
        more = f" Not all is ready again: {left}." if left else ""
        raise EdgeError(
            "E-TOKEN-BACK",
            f"k3s did not come through with its new token, and has the old one again: {why}",
            f"k3s runs as before.{more} Read `journalctl -u k3s` on the node before you try again.",
            NEVER,
            edge_log=log,
        )

    def _stop(self) -> None:
        self._steps.changes.append("stop k3s")
        service.systemctl("stop", layout.UNIT)

    def _put_back(self, record: dict[str, Any]) -> None:
        self._steps.changes.append("put back the old token")
        token_state.put_back(record["datastore"], self._start_s)

    def _start_as_before(self, record: dict[str, Any]) -> str:
        """Start k3s with the old token and end the rotation; what is not ready again, in words.

        Raises:
            EdgeError: it does not come up (E-TOKEN-HANDS); the copy stays.
        """
        self._steps.changes.append("start k3s")
        try:
            converge.bring_up("start", self._version, self._start_s)
        except EdgeError as exc:
            raise EdgeError(
                "E-TOKEN-HANDS",
                f"k3s does not come up with its old token either: {exc.message}",
                f"Look at `journalctl -u k3s` on the node; {token_journal.copies()} has token and datastore of before,"
                " and so has the newest backup: `edgemgr backup restore SITE`.",
                NEVER,
                **exc.details,
            ) from exc
        left = self._await_well(record, is_back=True)
        token_journal.end(record, token_journal.BACK)
        return left

    def _come_up(self, verb: str, record: dict[str, Any]) -> str:
        """Start or restart k3s and wait until it is the same cluster and as well as before; why not, else nothing."""
        try:
            converge.bring_up(verb, self._version, self._start_s)
        except EdgeError as exc:
            return exc.message
        return self._await_well(record, is_back=False) or _another(record)

    def _await_well(
        self,
        record: dict[str, Any],
        *,
        is_back: bool,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> str:
        deadline = clock() + self._verify_s
        while True:
            now = LocalCluster().look(self._site, self._version)
            worse = activation_workloads.compare(record["before"], now, is_back)
            if not worse:
                return ""
            if clock() >= deadline:
                more = f" and {len(worse) - _NAMED} more" if len(worse) > _NAMED else ""
                return "; ".join(worse[:_NAMED]) + more
            sleep(POLL_S)


def _token_rotate() -> str:
    """Run the command; what it said if it refused, without a token, else nothing."""
    before = token_state.password()
    command = [layout.K3S, "token", "rotate"]
    try:
        command += ["--server", KubeApi().address]
        done = subprocess.run(
            command,
            # Whoever started this may have variables that k3s would take for its own.
            env={name: value for name, value in os.environ.items() if not name.startswith("K3S_")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            universal_newlines=True,
            errors="replace",
            timeout=ROTATE_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"it did not end within {ROTATE_TIMEOUT_S} s"
    except (OSError, KubeApiError) as exc:
        return str(exc)
    if done.returncode == 0:
        return ""
    said = done.stdout.strip().rpartition("\n")[2] or f"it ended with {done.returncode}"
    for secret in {before, token_state.password()} - {""}:
        said = said.replace(secret, "***")
    return said[:300]


def _has_run_since() -> bool:
    """Whether k3s is up and has written more than what a rotation may lose: it was started since that had begun, or
    that was long ago.
    """
    unit, began_at = service.state(), os.stat(token_journal.path()).st_mtime
    started_at = node_facts.process_started_at(int(unit.get("MainPID") or 0))
    return unit["ActiveState"] == "active" and (started_at > began_at or time.time() - began_at > LONG_AGO_S)


def _runs_unfit() -> EdgeError:
    return EdgeError(
        "E-TOKEN-HANDS",
        "a rotation of the token was cut off, and k3s has run since then with a token and a datastore that do not fit",
        f"Nothing was put back, since what it has written since then would be lost. {token_journal.copies()} has both"
        " of before; look at `journalctl -u k3s` on the node, or restore a backup: `edgemgr backup restore SITE`.",
        NEVER,
    )


def _cluster_id() -> str:
    try:
        return str(KubeApi().read(_IDENTITY)["metadata"]["uid"])
    except KubeApiError as exc:
        raise EdgeError("E-VERIFY-API", str(exc), "Read `journalctl -u k3s` on the node.") from exc


def _authority() -> str:
    return sha256_of(layout.DATA_DIR + "/server/tls/server-ca.crt")


def _another(record: dict[str, Any]) -> str:
    """Whether what runs now is the cluster that ran before; a sentence if not."""
    try:
        is_same = (_cluster_id(), _authority()) == (record["cluster_id"], record["authority"])
    except EdgeError as exc:
        return exc.message
    return "" if is_same else "another cluster came up, by its CA or the uid of kube-system"
