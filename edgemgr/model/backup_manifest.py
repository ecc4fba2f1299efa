"""What a backup says of itself: which cluster, which moment, and the digests by which every byte of it is checked.

Written by the node (module_utils/backup_take.py of the collection). The manifest names, for each part, the SHA-256 of
block lists; a block list names the SHA-256 of up to 128 blocks of 4 KiB. So the manifest's own digest stands for all.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from edgemgr.model.digest import Digest

#: The same as in the collection (module_utils/backup_blocks.py).
BLOCK_BYTES = 4096
LIST_ENTRIES = 128
LIST_ENDING = ".blocks"

DIGEST_BYTES = 32
#: A datastore of 64 GiB has a manifest of 9 MB.
MAX_MANIFEST_BYTES = 16 << 20
_MAX_LISTS = 1 << 17
_MAX_FILES = 100_000

_Text = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]*$", max_length=300)]


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class BackupPart(_Told):
    """One file of a backup."""

    name: Literal["state.db", "etcd.snapshot", "files.tar"]
    size_bytes: int = Field(ge=0)
    sha256: Digest
    lists: tuple[Digest, ...] = Field(max_length=_MAX_LISTS)

    @property
    def block_count(self) -> int:
        """How many blocks it has; the last may be short."""
        return -(-self.size_bytes // BLOCK_BYTES)

    def list_bytes(self, number: int) -> int:
        """Size of one of its block lists."""
        return DIGEST_BYTES * min(LIST_ENTRIES, self.block_count - number * LIST_ENTRIES)

    def block_bytes(self, number: int) -> int:
        """Size of one of its blocks."""
        return min(BLOCK_BYTES, self.size_bytes - number * BLOCK_BYTES)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(self.lists) != -(-self.block_count // LIST_ENTRIES):
            raise ValueError(f"{self.name} has not as many block lists as its size asks for")
        return self


class BackupFile(_Told):
    """One file within `files.tar`."""

    name: _Text
    size_bytes: int = Field(ge=0)
    sha256: Digest


class BackupManifest(_Told):
    """A backup of one node."""

    format: Literal[1]
    site: _Text
    attempt: int = Field(ge=1)  #: the attempt that took it: its name on the node
    taken_at: datetime  #: by the node's clock
    k3s_version: _Text  #: a restore needs this very version
    datastore: Literal["sqlite", "etcd"]
    revision: int | None = None  #: number of the datastore's newest change, where it is SQLite
    #: Which server token it holds, by the attempt that made or first saw that; None: taken before this was told.
    token: Annotated[int, Field(ge=1, lt=1 << 63)] | None = None
    parts: tuple[BackupPart, ...] = Field(min_length=2, max_length=2)
    files: tuple[BackupFile, ...] = Field(max_length=_MAX_FILES)

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        store = {"sqlite": "state.db", "etcd": "etcd.snapshot"}[self.datastore]
        if {part.name for part in self.parts} != {store, "files.tar"}:
            raise ValueError(f"a backup of {self.datastore} has the parts {store} and files.tar")
        if self.taken_at.tzinfo is None:
            raise ValueError("a time has a zone")
        return self

    @property
    def size_bytes(self) -> int:
        """Of all parts."""
        return sum(part.size_bytes for part in self.parts)

    def part(self, name: str) -> BackupPart:
        """The part of that name.

        Raises:
            KeyError: it has none.
        """
        return {str(part.name): part for part in self.parts}[name]


def read_manifest(text: bytes) -> BackupManifest:
    """Read a manifest.

    Raises:
        ValueError: it is none.
    """
    return BackupManifest.model_validate_json(text)


def entries(block_list: bytes) -> list[bytes]:
    """The digests of the blocks that a list names, in order."""
    return [block_list[at : at + DIGEST_BYTES] for at in range(0, len(block_list), DIGEST_BYTES)]
