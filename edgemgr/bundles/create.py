"""Everything that a recipe names, checked and ready to be signed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from edgemgr.bundles import file_kinds
from edgemgr.bundles.collect import Collector
from edgemgr.bundles.image_source import read_images
from edgemgr.bundles.images import ImageBuilder
from edgemgr.bundles.payload import Payload
from edgemgr.bundles.recipe import K3sPart, Recipe
from edgemgr.bundles.sbom import sbom
from edgemgr.bundles.shelf import Shelf
from edgemgr.errors import BundleError
from edgemgr.model.content import ReleaseRecord
from edgemgr.model.release import Arch
from edgemgr.model.version import K3sVersion

#: Called with the name of what is read, the bytes of it that were read so far, and its size.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class K3sFiles:
    """The files of one k3s version for one architecture, after their hashes were checked against the published list."""

    version: str
    arch: Arch
    binary: Path
    images: Path


@dataclass(frozen=True)
class Prepared:
    """A bundle that only lacks its signatures. Its payload lies in the work directory and among the inputs."""

    release: ReleaseRecord
    payload: tuple[Payload, ...]
    expires_at: datetime

    @property
    def payload_bytes(self) -> int:
        """What the blobs have together, each counted once."""
        return sum({item.digest: item.size_bytes for item in self.payload}.values())


def prepare(
    recipe: Recipe,
    k3s: Sequence[K3sFiles],
    *,
    work: Path,
    created_at: datetime,
    on_progress: Progress | None = None,
) -> Prepared:
    """Read everything, check it and describe it. The same inputs and the same time give the same result.

    Args:
        recipe: with absolute paths.
        k3s: the verified files of its k3s versions.
        work: an empty directory with room for all image layers.
        created_at: when the bundle was made, as it says itself.
        on_progress: told of image archives.

    Raises:
        BundleError: something is missing, damaged, or not what the recipe says
            (E-BUNDLE-FILE, E-BUNDLE-ARCHIVE, E-BUNDLE-IMAGE, E-BUNDLE-RECIPE).
    """
    created_at = created_at.replace(microsecond=0)
    shelf = Shelf(work)
    collector, builder = Collector(shelf), ImageBuilder(shelf)
    for part in recipe.contents.k3s:
        for files in _files_of(part, k3s):
            collector.add_binary(files.binary, part.version, files.arch, requires_from(part))
            label = f"{part.version} {files.arch} images"
            told = _named(on_progress, label)
            images = read_images(files.images, files.arch, shelf, builder, on_progress=told)
            collector.add_images(images, part.version, files.images)
    for extra in recipe.contents.images:
        told = _named(on_progress, extra.path.name)
        images = read_images(extra.path, extra.arch, shelf, builder, ref=extra.ref, on_progress=told)
        collector.add_images(images, None, extra.path)
    collector.finish_images()
    _add_files(recipe, collector)
    name = f"{recipe.product}-{recipe.channel}"
    document = sbom(name, str(recipe.number), collector.ingredients, created_at=created_at)
    collector.add_sbom(f"{name}-{recipe.number}.cdx.json", document)
    archs = tuple(arch for arch in Arch if arch in _archs(recipe))
    release = ReleaseRecord(
        product=recipe.product,
        channel=recipe.channel,
        number=recipe.number,
        title=recipe.title,
        k3s_versions=tuple(str(v) for v in sorted({K3sVersion.parse(p.version) for p in recipe.contents.k3s})),
        from_versions=tuple(recipe.from_versions),
        archs=archs,
        created_at=created_at,
        min_free_bytes=collector.min_free_bytes(archs),
        min_edgemgr=recipe.min_edgemgr,
        notes=recipe.notes,
    )
    return Prepared(release, tuple(collector.payload), created_at + timedelta(days=recipe.valid_days))


def requires_from(part: K3sPart) -> list[str]:
    """From which versions a site may take this one: by default its own minor and the one before.

    Kubernetes allows no minor to be skipped (docs.k3s.io, manual upgrades).
    """
    if part.requires_from is not None:
        return part.requires_from
    version = K3sVersion.parse(part.version)
    minors = range(max(0, version.minor - 1), version.minor + 1)
    return [f"v{version.major}.{minor}" for minor in minors]


def _files_of(part: K3sPart, k3s: Sequence[K3sFiles]) -> Iterator[K3sFiles]:
    for arch in sorted(set(part.archs)):
        found = next((files for files in k3s if (files.version, files.arch) == (part.version, arch)), None)
        if found is None:
            raise BundleError(
                f"k3s {part.version} for {arch} is not in {part.release or 'its release directory'}",
                hint="Put the architecture's binary, images and sha256sum file there, or take it out of `archs`.",
                code="E-BUNDLE-FILE",
            )
        yield found


def _add_files(recipe: Recipe, collector: Collector) -> None:
    contents = recipe.contents
    for kind, paths in (
        (file_kinds.CHART, contents.charts),
        (file_kinds.MANIFEST, contents.manifests),
        (file_kinds.PLAYBOOKS, contents.playbooks),
        (file_kinds.WHEEL, list(_wheels(contents.wheels))),
        (file_kinds.NOTES, contents.notes),
    ):
        for path in paths:
            collector.add_file(path, kind)
    for pack in contents.packs:
        collector.add_pack(pack.file, pack.name, pack.version)


def _wheels(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        found = sorted(path.glob("*.whl"))
        if not found:
            raise BundleError(f"{path} holds no wheel", hint="Give a wheelhouse, or files.", code="E-BUNDLE-FILE")
        yield from found


def _archs(recipe: Recipe) -> set[Arch]:
    contents = recipe.contents
    return {arch for part in contents.k3s for arch in part.archs} | {part.arch for part in contents.images}


def _named(on_progress: Progress | None, name: str) -> Callable[[int, int], None] | None:
    return None if on_progress is None else lambda done, size: on_progress(name, done, size)
