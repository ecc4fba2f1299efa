"""Collector: gathers what a recipe names into payload with its signed description, each blob once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from edgemgr.bundles.file_kinds import FileKind
from edgemgr.bundles.images import Image
from edgemgr.bundles.names import CHUNK_BYTES, target_name_fault
from edgemgr.bundles.payload import Payload
from edgemgr.bundles.sbom import Ingredient, Thing
from edgemgr.bundles.shelf import Blob, Shelf
from edgemgr.errors import BundleError
from edgemgr.model.content import PLACES, Place, TargetCustom, TargetKind
from edgemgr.model.release import Arch

EXTRA = "extra"
_STAYS = (Place.APPLIANCE, Place.NONE)


@dataclass(frozen=True)
class _Used:
    """How a blob of an image is used."""

    blob: Blob
    media_type: str
    uncompressed_bytes: int | None
    arch: Arch


class Collector:
    """Takes things one by one; `payload` and `ingredients` say what came together."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._payload: dict[str, Payload] = {}
        self._used: dict[str, list[_Used]] = {}
        self._images: dict[tuple[str, Arch], dict[str, Image]] = {}
        self.ingredients: list[Ingredient] = []

    def add_binary(self, path: Path, version: str, arch: Arch, requires_from: Sequence[str]) -> None:
        """Take a verified k3s program."""
        blob = self._shelf.take(path)
        name = f"k3s/{version}/{arch}/k3s"
        more = {"arch": arch, "k3s_version": version, "requires_from": tuple(requires_from)}
        self._add(name, blob, TargetKind.K3S_BINARY, more, str(path))
        self.ingredients.append(Ingredient(Thing.K3S, "k3s", version, blob.digest, arch))

    def add_images(self, images: Iterable[Image], version: str | None, source: Path) -> None:
        """Take images: those of a k3s version, or further ones.

        Raises:
            BundleError: two different images of one name (E-BUNDLE-IMAGE).
        """
        image_set = EXTRA if version is None else f"k3s-{version}"
        for image in images:
            taken = self._images.setdefault((image_set, image.arch), {})
            if taken.setdefault(image.ref, image).manifest.digest != image.manifest.digest:
                raise BundleError(
                    f"{source}: {image.ref} for {image.arch} was there before with another content",
                    hint="Give each image once, or give the two different tags.",
                    code="E-BUNDLE-IMAGE",
                )

    def add_file(self, path: Path, kind: FileKind, name: str | None = None) -> None:
        """Take a plain file after a look at it.

        Raises:
            BundleError: it is not what it should be, or two files have one name (E-BUNDLE-FILE).
        """
        blob = self._shelf.take(path)
        known = kind.check(path)
        target = f"{kind.folder}/{name or path.name}"
        self._add(target, blob, kind.kind, {}, str(path))
        if kind.thing is not None:
            self.ingredients.append(Ingredient(kind.thing, known.name, known.version, blob.digest))

    def add_pack(self, path: Path, name: str, version: str) -> None:
        """Take one version of a pack."""
        blob = self._shelf.take(path)
        self._add(f"packs/{name}/{version}.tar", blob, TargetKind.PACK, {}, str(path))
        self.ingredients.append(Ingredient(Thing.PACK, name, version, blob.digest))

    def add_sbom(self, name: str, document: bytes) -> None:
        """Take the bill of materials, once everything else is there."""
        self._add(f"sbom/{name}", self._shelf.put([document]), TargetKind.SBOM, {}, "the bill of materials")

    def finish_images(self) -> None:
        """Number the images by their names, and gather the blobs that they share. Once, after the last of them."""
        for (image_set, arch), images in sorted(self._images.items()):
            for number, (ref, image) in enumerate(sorted(images.items()), 1):
                version = None if image_set == EXTRA else image_set.removeprefix("k3s-")
                more = {
                    "arch": arch,
                    "os": "linux",
                    "k3s_version": version,
                    "ref": ref,
                    "media_type": image.manifest_type,
                }
                self._add(f"images/{image_set}/{arch}/{number}.json", image.manifest, TargetKind.IMAGE, more, ref)
                self._use(_Used(image.config, image.config_type, None, arch))
                for layer in image.layers:
                    self._use(_Used(layer.blob, layer.media_type, layer.uncompressed_bytes, arch))
                repository, _, tag = ref.rpartition(":")
                self.ingredients.append(Ingredient(Thing.IMAGE, repository, tag, image.manifest.digest, arch))
        for digest, uses in self._used.items():
            archs = {use.arch for use in uses}
            described: dict[str, object] = {
                "arch": archs.pop() if len(archs) == 1 else None,
                "os": "linux",
                "media_type": uses[0].media_type,
                "uncompressed_size": uses[0].uncompressed_bytes,
            }
            self._add(f"oci/{digest}", uses[0].blob, TargetKind.IMAGE_BLOB, described, digest)

    @property
    def payload(self) -> list[Payload]:
        """Everything that was taken, by name."""
        return [self._payload[name] for name in sorted(self._payload)]

    def min_free_bytes(self, archs: Iterable[Arch]) -> int:
        """Room that the largest architecture needs on a site.

        Each file lies there twice, in the content store and in its place (the images as one archive, which must stay
        beside what containerd keeps: docs.k3s.io, air-gap install), and layers a third time, unpacked.
        """
        return max((sum(self._room(arch)) for arch in archs), default=0)

    def _room(self, arch: Arch) -> Iterator[int]:
        seen = set()
        for item in self._payload.values():
            if item.custom.place in _STAYS or item.custom.arch not in (arch, None) or item.digest in seen:
                continue
            seen.add(item.digest)
            yield 2 * item.size_bytes + (item.custom.uncompressed_size or 0)

    def _use(self, use: _Used) -> None:
        self._used.setdefault(use.blob.digest, []).append(use)

    def _add(self, name: str, blob: Blob, kind: TargetKind, more: Mapping[str, object], source: str) -> None:
        if blob.chunks:
            more = {**more, "chunk_bytes": CHUNK_BYTES, "chunks": blob.chunks}
        try:
            custom = TargetCustom.model_validate({"kind": kind, "place": PLACES[kind], **more})
        except ValidationError as exc:
            why = "; ".join(f"{error['loc'][0] if error['loc'] else kind}: {error['msg']}" for error in exc.errors())
            raise BundleError(f"{source}: {why}", hint="Save it again, plainly.", code="E-BUNDLE-FILE") from exc
        if why := target_name_fault(name, blob.digest, custom):
            raise BundleError(
                f"{source}: {name} {why}",
                hint="Use letters, digits, dots, hyphens and underscores, and the usual end of its kind.",
                code="E-BUNDLE-FILE",
            )
        payload = Payload(name, blob.digest, blob.size_bytes, custom, blob.path)
        if self._payload.setdefault(name, payload).digest != blob.digest:
            raise BundleError(
                f"{source}: there is another file of the name {name}", hint="Rename one.", code="E-BUNDLE-FILE"
            )
