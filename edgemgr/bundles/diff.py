"""What a site gets by one bundle that it did not get by another: versions, images, files, and bytes to be sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgemgr.bundles.content import Content, Target
from edgemgr.model.content import Place, TargetKind
from edgemgr.model.release import Arch

_STAYS = (Place.APPLIANCE, Place.NONE)


@dataclass(frozen=True)
class Change:
    """One thing that is not the same in both."""

    what: str  #: k3s-binary, image, chart, manifest …
    name: str
    archs: tuple[str, ...]  #: none: for every architecture
    change: str  #: added, removed or changed
    before: str  #: tags or versions that go; of what keeps its name, the beginning of its digest
    after: str  #: those that come


@dataclass(frozen=True)
class Transfer:
    """What travels to a site of one architecture that has all of the first bundle."""

    arch: str
    blobs: int
    new_bytes: int  #: to be sent
    all_bytes: int  #: what the second bundle holds for such a site

    @property
    def share(self) -> float:
        """The part that is new, from 0 to 1."""
        return self.new_bytes / self.all_bytes if self.all_bytes else 0.0


@dataclass(frozen=True)
class BundleDiff:
    """The difference between two bundles."""

    changes: tuple[Change, ...]
    transfers: tuple[Transfer, ...]


def diff_contents(old: Content, new: Content) -> BundleDiff:
    """Compare two verified bundles, by what their signed targets say."""
    had, gets = _things(old), _things(new)
    found: dict[tuple[TargetKind, str, str, str, str], list[str]] = {}
    for kind, name, arch in sorted(set(had) | set(gets)):
        before, after = had.get((kind, name, arch), {}), gets.get((kind, name, arch), {})
        if before == after:
            continue
        change = "changed" if before and after else "added" if after else "removed"
        key = kind, name, change, _words(before, after), _words(after, before)
        found.setdefault(key, []).extend([arch] if arch else [])
    order = list(TargetKind)
    changes = [
        Change(kind.value, name, tuple(archs), change, before, after)
        for (kind, name, change, before, after), archs in sorted(
            found.items(), key=lambda item: (order.index(item[0][0]), item[0])
        )
    ]
    return BundleDiff(tuple(changes), tuple(_transfer(new, old.blobs, arch) for arch in new.release.archs))


def _transfer(new: Content, had: Mapping[str, int], arch: Arch) -> Transfer:
    blobs = {target.digest: target.size_bytes for target in new.targets.values() if _goes_to(target, arch)}
    fresh = [size for digest, size in blobs.items() if digest not in had]
    return Transfer(arch.value, len(fresh), sum(fresh), sum(blobs.values()))


def _goes_to(target: Target, arch: Arch) -> bool:
    return target.custom.place not in _STAYS and target.custom.arch in (arch, None)


def _things(content: Content) -> dict[tuple[TargetKind, str, str], dict[str, str]]:
    """What people call a thing → its versions, each with its digest. Blobs of images are told by their images."""
    found: dict[tuple[TargetKind, str, str], dict[str, str]] = {}
    for target in content.targets.values():
        if target.custom.kind in (TargetKind.IMAGE_BLOB, TargetKind.SBOM):
            continue
        name, version = _called(target)
        arch = target.custom.arch.value if target.custom.arch else ""
        found.setdefault((target.custom.kind, name, arch), {})[version] = target.digest
    return found


def _called(target: Target) -> tuple[str, str]:
    """A thing's name without its version, and its version; empty for files that have none."""
    if target.custom.kind is TargetKind.K3S_BINARY:
        return "k3s", target.custom.k3s_version or ""
    if target.custom.ref is not None:
        name, _, tag = target.custom.ref.rpartition(":")
        return name, tag
    name = target.name.partition("/")[2]
    if target.custom.kind is TargetKind.PACK:
        name, _, file = name.partition("/")
        return name, file.removesuffix(".tar")
    return name, ""


def _words(these: Mapping[str, str], others: Mapping[str, str]) -> str:
    """The versions that only `these` have; with a digest where the version alone does not tell them apart."""
    words = []
    for version, digest in sorted(these.items()):
        if others.get(version) != digest:
            words.append(version if version and version not in others else f"{version} {digest[:12]}".strip())
    return ", ".join(words)
