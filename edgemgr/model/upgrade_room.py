"""What an upgrade takes on a node's disk, from the sizes of its files. Pure; a generous estimate, the node measures."""

from __future__ import annotations

from collections.abc import Sequence

from edgemgr.model.release import Arch
from edgemgr.model.upgrade import Check, Hop, Preflight, Verdict
from edgemgr.model.upgrade_facts import UpgradeFacts
from edgemgr.model.upgrade_offer import Offer
from edgemgr.model.version import K3sVersion

#: Left over when everything is in place.
SPARE_BYTES = 2 << 30
#: So full the disk may be afterwards: above that the kubelet begins to remove images, also those that no registry in
#: reach can give back (k3s issues 1552, 2961).
MOST_USED = 0.8
#: What a file becomes once k3s has unpacked it, as multiples of its size; preflight on the node counts alike. The
#: binary is a packed archive of programs, and images are kept twice (content store and unpacked layers).
_UNPACKED_BINARY, _UNPACKED_PACKED_IMAGES, _UNPACKED_IMAGES = 4, 4, 2
#: Room for the datastore's copies: before a hop, the evidence after a way back, and one while it is restored.
_DATASTORE_COPIES = 3


def needed_bytes(offer: Offer, arch: Arch, hops: Sequence[Hop], *, staged: bool, datastore_bytes: int) -> int:
    """Bytes that the hops will write and keep, without the reserve; files that are staged already lie there."""
    releases = offer.of(arch)
    total = (_DATASTORE_COPIES + len(hops) - 1) * datastore_bytes if hops else 0
    for hop in (each for each in hops if each.needs_files):
        release = releases[K3sVersion.parse(hop.to_version)]
        grown = _UNPACKED_PACKED_IMAGES if release.images_packed else _UNPACKED_IMAGES
        total += release.binary_bytes * _UNPACKED_BINARY + release.images_bytes * grown
        total += 0 if staged else release.binary_bytes + release.images_bytes
    return total


def disk(facts: UpgradeFacts, offer: Offer, hops: Sequence[Hop], *, staged: bool) -> Check:
    """Room on the file system of k3s' data, which is the only one that sites report."""
    free, size, database = (facts.number(key) for key in ("disk_free_bytes", "disk_size_bytes", "datastore_bytes"))
    arch = facts.arch
    if free is None or not size or arch is None:
        return Check(Preflight.DISK, Verdict.ASK, "how much room the node has is measured there")
    need = needed_bytes(offer, arch, hops, staged=staged, datastore_bytes=database or 0)
    told = f"{_gib(free)} GiB were free; {_gib(need)} GiB are needed and {_gib(SPARE_BYTES)} GiB have to stay free"
    if free < need + SPARE_BYTES:
        return Check(
            Preflight.DISK,
            Verdict.BLOCK,
            told,
            "E-PRE-DISK",
            "Free some room on the node or give it a larger disk; `edgemgr verify` measures anew.",
        )
    if size - free + need >= MOST_USED * size:
        most = f"{told}; the disk may then be fuller than {MOST_USED:.0%}, where images begin to be removed"
        return Check(Preflight.DISK, Verdict.WARN, most)
    return Check(Preflight.DISK, Verdict.PASS, told)


def _gib(number_bytes: int) -> str:
    return f"{number_bytes / (1 << 30):.1f}"
