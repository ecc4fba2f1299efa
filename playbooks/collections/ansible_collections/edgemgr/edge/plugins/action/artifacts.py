"""Artifacts: brings the files that a node lacks to its content store, in chunks over the task's own connection.

A cut costs at most one chunk: the node tells which chunks it holds, and only the others are sent.
"""

from __future__ import annotations

import hashlib
import shlex
import time
from pathlib import Path
from typing import Any, BinaryIO

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.edgemgr.edge.plugins.module_utils import layout
from ansible_collections.edgemgr.edge.plugins.plugin_utils import access

RECEIVER = Path(__file__).parent.parent / "plugin_utils" / "receive.py"
STALE, DAMAGED = 75, 65
PROGRESS_EVERY_S = 10.0
MIB = 1024 * 1024

display = Display()


class RefusedTransferError(Exception):
    """The transfer cannot go on; carries the task's failed result."""

    def __init__(self, code: str, message: str, hint: str, retry: str = "budgeted") -> None:
        super().__init__(message)
        self.result = {
            "failed": True,
            "changed": False,
            "msg": message,
            "edge_code": code,
            "edge_hint": hint,
            "edge_retry": retry,
        }


class ActionModule(ActionBase):
    """The whole of `edgemgr.edge.artifacts`; there is a module of that name only for its documentation."""

    _requires_connection = True
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Carry out the task."""
        super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            {
                "attempt": {"type": "int", "required": True},
                "fence_wait_s": {"type": "int", "default": 60},
                "artifacts": {"type": "list", "elements": "dict", "required": True},
                "missing": {"type": "list", "elements": "str", "required": True},
            }
        )
        self._started_at = self._shown_at = time.monotonic()
        wanted = {each["digest"]: each for each in arguments["artifacts"] if each["digest"] in arguments["missing"]}
        if not wanted:
            return {"changed": False, "edge_sent_bytes": 0}
        if self._task.check_mode:
            sizes = sum(each["size_bytes"] for each in wanted.values())
            diff = {"before": "", "after": "".join(f"{each['name']} {digest}\n" for digest, each in wanted.items())}
            return {"changed": True, "diff": diff, "edge_sent_bytes": 0, "edge_missing_bytes": sizes}
        try:
            return self._bring(list(wanted.values()), arguments, task_vars or {})
        except RefusedTransferError as refusal:
            return refusal.result

    def _bring(
        self, files: list[dict[str, Any]], arguments: dict[str, Any], task_vars: dict[str, Any]
    ) -> dict[str, Any]:
        opened = self._store("open", files, arguments, task_vars)
        if opened.get("failed"):
            return opened
        sent = sum(self._send(each, opened["chunks"][each["digest"]], arguments["attempt"]) for each in files)
        completed = self._store("complete", files, arguments, task_vars)
        if completed.get("failed"):
            return completed
        elapsed_s = round(time.monotonic() - self._started_at, 3)
        return {"changed": True, "edge_sent_bytes": sent, "edge_elapsed_s": elapsed_s}

    def _store(
        self, step: str, files: list[dict[str, Any]], arguments: dict[str, Any], task_vars: dict[str, Any]
    ) -> dict[str, Any]:
        module_arguments = {
            "attempt": arguments["attempt"],
            "fence_wait_s": arguments["fence_wait_s"],
            "step": step,
            "files": [{"digest": each["digest"], "size_bytes": each["size_bytes"]} for each in files],
        }
        return access.execute(self, "artifact_store", module_arguments, task_vars)

    def _send(self, artifact: dict[str, Any], present: list[str], attempt: int) -> int:
        """Send the chunks that the node does not hold; returns the bytes that were sent."""
        sent = 0
        try:
            with Path(artifact["path"]).open("rb") as handle:
                for index, chunk in enumerate(_chunks(handle)):
                    digest = hashlib.sha256(chunk).hexdigest()
                    if index < len(present) and present[index] == digest:
                        continue
                    self._send_chunk(artifact, index * layout.CHUNK_BYTES, chunk, digest, attempt)
                    sent += len(chunk)
        except OSError as exc:
            raise RefusedTransferError(
                "E-ARTIFACT-SOURCE",
                f"the controller cannot read {artifact['name']}: {exc.strerror}",
                "Add the release again with `edgemgr release add`.",
                "never",
            ) from exc
        return sent

    def _send_chunk(self, artifact: dict[str, Any], offset: int, chunk: bytes, digest: str, attempt: int) -> None:
        command = [
            self._templar.available_variables.get("ansible_python_interpreter", "/usr/bin/python3"),
            "-c",
            RECEIVER.read_text(encoding="utf-8"),
            layout.partial(artifact["digest"]),
            str(offset),
            digest,
            str(attempt),
            layout.FENCE_RECORD,
        ]
        # The connection plugin raises AnsibleConnectionFailure when the link breaks: the site is unreachable then.
        done = self._low_level_execute_command(shlex.join(command), in_data=chunk)
        if done["rc"] == STALE:
            hint = "The newer attempt's outcome counts; after a restore run `edgemgr database renumber`."
            raise RefusedTransferError(
                "E-FENCE-STALE", f"attempt {attempt} was superseded while it sent files", hint, "never"
            )
        if done["rc"] != 0:
            why = "damaged on the way" if done["rc"] == DAMAGED else done["stderr"].strip().rpartition("\n")[2]
            hint = "Look at the node's disk and memory (df, dmesg); the next attempt goes on where this one stopped."
            raise RefusedTransferError("E-ARTIFACT-SEND", f"a chunk of {artifact['name']} was not stored: {why}", hint)
        self._show(artifact, offset + len(chunk))

    def _show(self, artifact: dict[str, Any], done: int) -> None:
        if time.monotonic() - self._shown_at >= PROGRESS_EVERY_S:
            self._shown_at = time.monotonic()
            host = self._templar.available_variables.get("inventory_hostname", "")
            display.display(f"{host}: {artifact['name']}: {done // MIB} of {artifact['size_bytes'] // MIB} MiB")


def _chunks(handle: BinaryIO) -> Any:
    return iter(lambda: handle.read(layout.CHUNK_BYTES), b"")
