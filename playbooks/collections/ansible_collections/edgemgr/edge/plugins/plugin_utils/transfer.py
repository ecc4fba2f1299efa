"""Transfer: brings files that a node lacks to its content store, in chunks over the task's own connection.

A cut costs at most one chunk: the node tells which chunks it holds, and only the others are sent.
"""

from __future__ import annotations

import hashlib
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.edgemgr.edge.plugins.module_utils import layout
from ansible_collections.edgemgr.edge.plugins.plugin_utils import access

RECEIVER = Path(__file__).with_name("receive.py")
STALE, DAMAGED = 75, 65
PROGRESS_EVERY_S = 10.0
MIB = 1024 * 1024

display = Display()


class TransferFailedError(Exception):
    """The transfer cannot go on; `result` is that of the task."""

    def __init__(self, result: dict[str, Any]) -> None:
        super().__init__(result.get("msg"))
        self.result = result


class Transfer:
    """Sends for one attempt at one node."""

    def __init__(self, action: ActionBase, task_vars: dict[str, Any], attempt: int, fence_wait_s: int) -> None:
        self._action = action
        self._task_vars = task_vars
        self._attempt = attempt
        self._fence_wait_s = fence_wait_s
        self._shown_at = time.monotonic()

    def bring(self, files: list[dict[str, Any]]) -> int:
        """Send what the node has not; returns the bytes that were sent.

        Raises:
            TransferFailedError: the node or the controller has no file to write or to read.
            AnsibleConnectionFailure: the link broke; the chunks that came stay.
        """
        opened = self._store("open", files)
        sent = sum(self._send(each, opened["chunks"][each["digest"]]) for each in files)
        self._store("complete", files)
        return sent

    def _store(self, step: str, files: list[dict[str, Any]]) -> dict[str, Any]:
        arguments = {
            "attempt": self._attempt,
            "fence_wait_s": self._fence_wait_s,
            "step": step,
            "files": [{"digest": each["digest"], "size_bytes": each["size_bytes"]} for each in files],
        }
        result = access.execute(self._action, "artifact_store", arguments, self._task_vars)
        if result.get("failed"):
            raise TransferFailedError(result)
        return result

    def _send(self, artifact: dict[str, Any], present: list[str]) -> int:
        sent = 0
        try:
            with Path(artifact["path"]).open("rb") as handle:
                for index, chunk in enumerate(_chunks(handle)):
                    digest = hashlib.sha256(chunk).hexdigest()
                    if index < len(present) and present[index] == digest:
                        continue
                    self._send_chunk(artifact, index * layout.CHUNK_BYTES, chunk, digest)
                    sent += len(chunk)
        except OSError as exc:
            raise _failure(
                "E-ARTIFACT-SOURCE",
                f"the controller cannot read {artifact['name']}: {exc.strerror}",
                "Add the release again with `edgemgr release add`.",
                "never",
            ) from exc
        return sent

    def _send_chunk(self, artifact: dict[str, Any], offset: int, chunk: bytes, digest: str) -> None:
        command = [
            self._task_vars.get("ansible_python_interpreter", "/usr/bin/python3"),
            "-c",
            RECEIVER.read_text(encoding="utf-8"),
            layout.partial(artifact["digest"]),
            str(offset),
            digest,
            str(self._attempt),
            layout.FENCE_RECORD,
        ]
        # The connection plugin raises AnsibleConnectionFailure when the link breaks: the site is unreachable then.
        done = self._action._low_level_execute_command(shlex.join(command), in_data=chunk)  # noqa: SLF001
        if done["rc"] == STALE:
            hint = "The newer attempt's outcome counts; after a restore run `edgemgr database renumber`."
            raise _failure(
                "E-FENCE-STALE", f"attempt {self._attempt} was superseded while it sent files", hint, "never"
            )
        if done["rc"] != 0:
            why = "damaged on the way" if done["rc"] == DAMAGED else done["stderr"].strip().rpartition("\n")[2]
            hint = "Look at the node's disk and memory (df, dmesg); the next attempt goes on where this one stopped."
            raise _failure("E-ARTIFACT-SEND", f"a chunk of {artifact['name']} was not stored: {why}", hint)
        self._show(artifact, offset + len(chunk))

    def _show(self, artifact: dict[str, Any], done: int) -> None:
        if time.monotonic() - self._shown_at >= PROGRESS_EVERY_S:
            self._shown_at = time.monotonic()
            host = self._task_vars.get("inventory_hostname", "")
            display.display(f"{host}: {artifact['name']}: {done // MIB} of {artifact['size_bytes'] // MIB} MiB")


def _failure(code: str, message: str, hint: str, retry: str = "budgeted") -> TransferFailedError:
    result = {"failed": True, "msg": message, "edge_code": code, "edge_hint": hint, "edge_retry": retry}
    return TransferFailedError(result)


def _chunks(handle: BinaryIO) -> Iterator[bytes]:
    return iter(lambda: handle.read(layout.CHUNK_BYTES), b"")
