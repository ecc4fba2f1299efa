"""What the signed targets say, checked: the release record, names, kinds, sizes and chunks.

Signed is not the same as right: a maker's program may be old, wrong or taken over.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError
from tuf.api.metadata import TargetFile, Targets

from edgemgr import __version__
from edgemgr.bundles import faults, ustar
from edgemgr.bundles.content import Target
from edgemgr.bundles.names import (
    CAPS,
    CHUNK_BYTES,
    CHUNKED_FROM_BYTES,
    TARGETS_MEMBER,
    target_name_fault,
)
from edgemgr.model.content import ReleaseRecord, TargetCustom
from edgemgr.model.digest import is_digest

RELEASE_FIELD = "edgemgr"


def read_release(targets: Targets) -> ReleaseRecord:
    """The release record.

    Raises:
        BundleError: there is none (E-B012), or it needs a later edgemgr (E-B002).
    """
    record = targets.unrecognized_fields.get(RELEASE_FIELD)
    if set(targets.unrecognized_fields) != {RELEASE_FIELD} or not isinstance(record, dict):
        raise faults.metadata_unreadable(TARGETS_MEMBER, "it has no release record")
    needed = record.get("min_edgemgr", "0")
    # Before anything else: a later format of the record may have fields that this one does not know.
    if _numbers(needed) > _numbers(__version__):
        raise faults.newer_edgemgr(needed, __version__)
    try:
        return ReleaseRecord.model_validate_json(json.dumps(record))
    except (ValidationError, UnicodeEncodeError) as exc:
        raise faults.metadata_unreadable(TARGETS_MEMBER, "its release record is none") from exc


def read_targets(targets: Targets) -> dict[str, Target]:
    """The targets by name, sorted.

    Raises:
        BundleError: one is not allowed, or there are too many (E-B070).
    """
    if targets.delegations is not None:
        raise faults.forbidden(TARGETS_MEMBER, "it delegates to others")
    if len(targets.targets) > CAPS.targets:
        raise faults.forbidden(TARGETS_MEMBER, f"it has more than {CAPS.targets} targets")
    return {name: _read_target(name, targets.targets[name]) for name in sorted(targets.targets)}


def blobs_of(targets: Iterable[Target], blobs_at: int) -> dict[str, int]:
    """Digest → size of every blob, in the order of the file.

    Raises:
        BundleError: two targets give one digest different sizes (E-B070), or they are too large together (E-B060).
    """
    sizes: dict[str, int] = {}
    for target in targets:
        if sizes.setdefault(target.digest, target.size_bytes) != target.size_bytes:
            raise faults.forbidden(target.name, "another target gives the same digest another size")
    total = blobs_at + sum(ustar.BLOCK_BYTES + ustar.padded(size) for size in sizes.values()) + len(ustar.TRAILER)
    if total > CAPS.bundle:
        raise faults.too_large(total, CAPS.bundle)
    return dict(sorted(sizes.items()))


def target_fault(target: Target) -> str:
    """What is wrong with a target; empty when nothing is. The writer asks this too."""
    size, custom = target.size_bytes, target.custom
    if size > CAPS.member:
        return f"it has {size} bytes, at most {CAPS.member} are accepted"
    if size > CHUNKED_FROM_BYTES:
        if custom.chunk_bytes != CHUNK_BYTES or len(custom.chunks) != -(-size // CHUNK_BYTES):
            return f"its digests of chunks are not those of {size} bytes"
    elif custom.chunks:
        return "a file of this size has no digests of chunks"
    fault = target_name_fault(target.name, target.digest, custom)
    return f"the name {fault}" if fault else ""


def _read_target(name: str, file: TargetFile) -> Target:
    if set(file.hashes) != {"sha256"} or set(file.unrecognized_fields) != {"custom"}:
        raise faults.forbidden(name, "it has not exactly one SHA-256 and one description")
    try:
        custom = TargetCustom.model_validate_json(json.dumps(file.custom))
    except (ValidationError, UnicodeEncodeError) as exc:
        raise faults.forbidden(name, "its description is none that this edgemgr knows") from exc
    digest = file.hashes["sha256"]
    target = Target(name, digest, file.length, custom)
    if not is_digest(digest):
        raise faults.forbidden(name, "its SHA-256 is none")
    fault = target_fault(target)
    if fault:
        raise faults.forbidden(name, fault)
    return target


def _numbers(version: Any) -> tuple[int, ...]:
    """`1.4.0` as (1, 4); an empty tuple for what is no such version, which the record's own check then refuses."""
    parts = str(version).split(".")
    if not all(part.isascii() and part.isdigit() and len(part) < 5 for part in parts):  # noqa: PLR2004
        return ()
    numbers = [int(part) for part in parts]
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)
