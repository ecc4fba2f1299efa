"""The list of the parts of a split bundle, `NAME.emb.parts`.

It says quickly which part is short or damaged. It is not signed and proves nothing: the signatures are over the
joined bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from edgemgr.bundles import faults
from edgemgr.bundles.names import CAPS
from edgemgr.model.digest import Digest

PARTS_SUFFIX = ".parts"
MAX_PARTS = 999
_MAX_LIST_BYTES = 1 << 20


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Part(_Strict):
    """One part: the name of its file, its size in bytes and its SHA-256."""

    name: str
    size: Annotated[int, Field(ge=1, le=CAPS.bundle)]
    sha256: Digest


class PartList(_Strict):
    """All parts of the bundle file `name`, which has `size` bytes and this SHA-256."""

    format: Literal["edgemgr-bundle-parts"] = "edgemgr-bundle-parts"
    version: Literal[1] = 1
    name: str
    size: Annotated[int, Field(ge=1, le=CAPS.bundle)]
    sha256: Digest
    parts: Annotated[tuple[Part, ...], Field(min_length=1, max_length=MAX_PARTS)]

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        names = [part_name(self.name, number) for number in range(1, len(self.parts) + 1)]
        if "/" in self.name or [part.name for part in self.parts] != names:
            raise ValueError("the parts are not numbered from 001 on")
        if sum(part.size for part in self.parts) != self.size:
            raise ValueError("the sizes do not add up")
        return self


def part_name(name: str, number: int) -> str:
    """The file name of a part, the first being number 1."""
    return f"{name}.{number:03d}"


def read_part_list(path: Path) -> PartList:
    """Read a list of parts.

    Raises:
        BundleError: the file cannot be read (E-BUNDLE-FILE), or is no such list (E-B012).
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_LIST_BYTES + 1)
    except OSError as exc:
        raise faults.unusable_file(str(path), exc.strerror or str(exc)) from exc
    if len(data) > _MAX_LIST_BYTES:
        raise faults.metadata_unreadable(path.name, "it is too long")
    try:
        listed = PartList.model_validate_json(data)
    except ValidationError as exc:
        raise faults.metadata_unreadable(path.name, "it is no list of parts") from exc
    if listed.name + PARTS_SUFFIX != path.name:
        raise faults.metadata_unreadable(path.name, f"it is the list of {listed.name}")
    return listed
