"""The node's half of a transfer: its content store, asked, completed and pruned by a program run there as root."""

from __future__ import annotations

import base64
import json
import threading
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from edgemgr.errors import Retry, SiteError
from edgemgr.links import node_archive, node_fence, node_files, node_program, node_store
from edgemgr.links.connection import Connection
from edgemgr.links.transfer_plan import BLOCK_BYTES, CHUNK_BYTES, Blob, Held, chunks_of
from edgemgr.model.archive_recipe import ArchiveRecipe, Slice

MIB = 1024 * 1024
#: Makes the modules of the program known under their names, then runs it. They are packed: all of it travels at every
#: step, and after every cut anew.
_LOADER = """\
import base64, sys, types, zlib
for name, packed in {modules!r}:
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(zlib.decompress(base64.b85decode(packed)), name, "exec"), module.__dict__)
sys.modules["edgemgr.links.node_program"].main({asked!r})
"""
#: How long the node may take: something, and the time to hash (or copy) so many bytes on a slow disk.
_PATIENCE_S = 60.0
_SLOW_BYTES_S = 10 * MIB


class NodeBusyError(SiteError):
    """Another attempt is at work on the node."""

    code = "E-FENCE-BUSY"
    retry = Retry.BUDGETED


class NodeStoreError(SiteError):
    """The node's disk refused, or what lies on it has not the hash that it should have."""

    code = "E-NODE-IO"
    retry = Retry.BUDGETED


@dataclass(frozen=True)
class StorePlace:
    """Where things lie on the node: the same as in the collection (module_utils/layout.py), unless a test says so."""

    cache: str = "/var/lib/edgemgr/cache/sha256"
    incoming: str = "/var/lib/edgemgr/incoming"
    record: str = "/var/lib/edgemgr/fence.json"
    lock: str = "/run/lock/edgemgr.lock"


@dataclass(frozen=True)
class Reserve:
    """What has to stay free on the node's disk."""

    free_bytes: int = 2048 * MIB
    inodes: int = 20_000
    made_bytes: int = 0  #: room for what is made there of the files once they have come


@dataclass(frozen=True)
class Opened:
    """What a node answered at the beginning of a transfer."""

    directory: str  #: where the partial files lie for this transfer, `DIGEST.part`
    present: frozenset[str]
    held: dict[str, Held]


@dataclass(frozen=True)
class Looked:
    """What a node holds of some files."""

    machine: str  #: as `uname -m` prints it
    whole: frozenset[str]  #: lie in the store under their digests
    inside: frozenset[str]  #: lie within archives of the store


@dataclass(frozen=True)
class Pruned:
    """What a node removed."""

    names: tuple[str, ...]
    freed_bytes: int


class NodeStore:
    """The content store of one node, for one attempt (the fencing token)."""

    def __init__(
        self, connection: Connection, *, attempt: int, place: StorePlace | None = None, fence_wait_s: float = 60.0
    ) -> None:
        self._connection = connection
        self._user = str(connection.transport.get_username())
        place = place or StorePlace()
        self._asked = {**place.__dict__, "attempt": attempt, "fence_wait_s": fence_wait_s, "user": self._user}
        self._patience_s = _PATIENCE_S + fence_wait_s

    def look(self, sizes: Mapping[str, int]) -> Looked:
        """Learn the node's machine, and which files of these digests and sizes it holds; bars older transfers.

        Raises:
            As `open`.
        """
        blobs = [{"digest": digest, "size_bytes": size} for digest, size in sizes.items()]
        answer = self._ask("look", 0, blobs=blobs)
        return Looked(str(answer["machine"]), frozenset(answer["whole"]), frozenset(answer["inside"]))

    def assemble(self, recipe: ArchiveRecipe, reserve: Reserve) -> None:
        """Have the node put an archive together from files that it holds.

        Raises:
            As `open`; NodeStoreError for parts that it does not hold or that are damaged (E-ARTIFACT-HASH): what is
                damaged was removed, so that it is sent anew.
        """
        parts = [
            {"digest": part.digest, "size_bytes": part.size_bytes}
            if isinstance(part, Slice)
            else base64.b64encode(part).decode("ascii")
            for part in recipe.parts
        ]
        answer = self._ask(
            "assemble",
            recipe.size_bytes,
            digest=recipe.digest,
            size_bytes=recipe.size_bytes,
            parts=parts,
            reserve_bytes=reserve.free_bytes,
        )
        self._require_right(answer["wrong"])

    def keep_sets(self, bundle: str, digests: Collection[str], *, keep: Collection[str], order_key: str = "") -> Pruned:
        """Note what a bundle has brought, and remove what is neither of it nor of the bundle staged before it.

        What is in place on the node stays, and so does `keep`. With an `order_key` the node takes work orders from now
        on only if they are signed with it.

        Raises:
            As `open`.
        """
        answer = self._ask("keep", 0, bundle=bundle, digests=sorted(digests), keep=sorted(keep), order_key=order_key)
        return Pruned(tuple(answer["removed"]), answer["freed_bytes"])

    def open(self, blobs: Sequence[Blob], reserve: Reserve) -> Opened:
        """Bar older transfers and learn what of these blobs is already there.

        Raises:
            SiteUnreachableError: the connection was lost.
            SiteError: refused: E-FENCE-STALE, E-FENCE-DAMAGED, E-STAGE-ROOM, E-ARTIFACT-NAME; E-STAGE-NODE;
                E-ARTIFACT-SOURCE for a file of the appliance.
            NodeBusyError: another attempt is at work there (E-FENCE-BUSY).
            NodeStoreError: its disk refused (E-NODE-IO).
        """
        listed = [{**_named(blob), "chunks": chunks_of(blob)} for blob in blobs]
        answer = self._ask(
            "open",
            sum(blob.size_bytes for blob in blobs),
            blobs=listed,
            chunk_bytes=CHUNK_BYTES,
            block_bytes=BLOCK_BYTES,
            reserve_bytes=reserve.free_bytes,
            reserve_inodes=reserve.inodes,
            made_bytes=reserve.made_bytes,
        )
        return Opened(
            directory=answer["directory"],
            present=frozenset(answer["present"]),
            held={digest: Held(told["chunks"], tuple(told["blocks"])) for digest, told in answer["held"].items()},
        )

    def complete(self, directory: str, blobs: Sequence[Blob]) -> None:
        """Have the node hash whole files, sync them and give them their names.

        Raises:
            As `open`; NodeStoreError for a file that came whole and has another hash (E-ARTIFACT-HASH).
        """
        size = sum(blob.size_bytes for blob in blobs)
        answer = self._ask("complete", size, directory=directory, blobs=[_named(blob) for blob in blobs])
        self._require_right(answer["wrong"])

    def prune(self, keep: Collection[str]) -> Pruned:
        """Remove every file that is neither in `keep` nor in place on the node.

        Raises:
            As `open`.
        """
        answer = self._ask("prune", 0, keep=sorted(keep))
        return Pruned(tuple(answer["removed"]), answer["freed_bytes"])

    def _require_right(self, wrong: Sequence[str]) -> None:
        if wrong:
            digests = ", ".join(digest[:12] + "…" for digest in wrong[:3])
            raise NodeStoreError(
                f"{len(wrong)} of the files that {self._connection.name} holds whole have not their sha256 ({digests})",
                hint="The next attempt sends them again; if this repeats, the node's disk is failing.",
                code="E-ARTIFACT-HASH",
            )

    def _ask(self, step: str, hashed_bytes: int, **more: Any) -> dict[str, Any]:
        timeout_s = self._patience_s + hashed_bytes / _SLOW_BYTES_S
        asked = json.dumps({**self._asked, "step": step, **more})
        program = _LOADER.format(modules=_packed_modules(), asked=asked)
        command = "/usr/bin/python3 -I -"
        if self._user != "root":
            command = f"sudo -n {command}"
        # A channel that waits for the start of a command has no time limit of its own in paramiko.
        guard = threading.Timer(timeout_s + 1, self._connection.transport.close)
        guard.daemon = True
        guard.start()
        try:
            result = self._connection.run(command, stdin=program, timeout_s=timeout_s)
        finally:
            guard.cancel()
        try:
            answer: dict[str, Any] = json.loads(result.stdout)
        except ValueError:
            raise self._no_answer(result.stderr) from None
        if "error" in answer:
            raise _as_error(self._connection.name, answer["error"])
        return answer

    def _no_answer(self, stderr: str) -> SiteError:
        said = stderr.strip().rpartition("\n")[2][:200] or "it said nothing"
        return SiteError(
            f"the content store of {self._connection.name} cannot be reached as user {self._user}: {said}",
            hint="The node needs Python 3.8 or newer, and the user has to be root or use sudo without a password.",
            code="E-STAGE-NODE",
        )


@cache
def _packed_modules() -> tuple[tuple[str, str], ...]:
    """The modules that the node's Python runs, with the packages in which they look for each other."""
    texts = {"edgemgr": b"", "edgemgr.links": b""}
    for module in (node_files, node_fence, node_store, node_archive, node_program):
        texts[module.__name__] = Path(str(module.__file__)).read_bytes()
    return tuple((name, base64.b85encode(zlib.compress(text, 9)).decode("ascii")) for name, text in texts.items())


def _as_error(name: str, told: dict[str, str]) -> SiteError:
    kind = {"E-FENCE-BUSY": NodeBusyError, "E-NODE-IO": NodeStoreError}.get(told["code"], SiteError)
    return kind(f"{name}: {told['message']}", hint=told["hint"], code=told["code"])


def _named(blob: Blob) -> dict[str, Any]:
    return {"digest": blob.digest, "size_bytes": blob.size_bytes}
