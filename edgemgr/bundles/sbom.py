"""The bill of materials of a bundle, in CycloneDX JSON: the same content gives the same document."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

#: Under which serial numbers are made: RFC 9562, version 5, of a name of our own.
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_OID, "edgemgr-bundle")


class Thing(StrEnum):
    """What a component is."""

    K3S = "k3s"
    IMAGE = "image"
    CHART = "chart"
    WHEEL = "wheel"
    PACK = "pack"


@dataclass(frozen=True)
class Ingredient:
    """One component: what it is called, and the digest of the bytes that are it."""

    thing: Thing
    name: str  #: for an image its repository: `docker.io/rancher/klipper-lb`
    version: str  #: for an image its tag
    digest: str
    arch: str | None = None


def sbom(product: str, version: str, ingredients: Iterable[Ingredient], *, created_at: datetime) -> bytes:
    """Write the document.

    Args:
        product: what the bundle is, such as `store-platform-stable`.
        version: its number.
        ingredients: the components, in any order.
        created_at: when the bundle was made.
    """
    sorted_ones = sorted(
        set(ingredients), key=lambda one: (one.thing, one.name, one.version, one.arch or "", one.digest)
    )
    names = [product, version, created_at.isoformat(), *(repr(one) for one in sorted_ones)]
    root = Component(name=product, version=version, type=ComponentType.PLATFORM, bom_ref="bundle")
    components = [_component(one) for one in sorted_ones]
    bom = Bom(
        components=components,
        serial_number=uuid.uuid5(_NAMESPACE, "\n".join(names)),
        metadata=BomMetaData(timestamp=created_at, component=root),
    )
    bom.register_dependency(root, components)
    return JsonV1Dot6(bom).output_as_string(indent=1).encode()


def _component(one: Ingredient) -> Component:
    reference = f"{one.thing}/{one.name}@{one.version}" + (f"/{one.arch}" if one.arch else "")
    return Component(
        name=one.name,
        version=one.version,
        type=_TYPES[one.thing],
        bom_ref=f"{reference}#{one.digest[:12]}",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=one.digest)],
        purl=_purl(one),
        properties=[Property(name="edgemgr:arch", value=one.arch)] if one.arch else [],
    )


def _purl(one: Ingredient) -> PackageURL | None:
    """The package URL (purl specification); packs have no type of their own there."""
    arch = {"arch": one.arch} if one.arch else {}
    match one.thing:
        case Thing.K3S:
            return PackageURL("github", "k3s-io", "k3s", one.version, arch)
        case Thing.IMAGE:
            where = {"repository_url": one.name, "tag": one.version}
            return PackageURL("oci", None, one.name.rpartition("/")[2], f"sha256:{one.digest}", arch | where)
        case Thing.CHART:
            return PackageURL("helm", None, one.name, one.version)
        case Thing.WHEEL:
            return PackageURL("pypi", None, one.name, one.version)
        case _:
            return None


_TYPES = {
    Thing.K3S: ComponentType.APPLICATION,
    Thing.IMAGE: ComponentType.CONTAINER,
    Thing.CHART: ComponentType.APPLICATION,
    Thing.WHEEL: ComponentType.LIBRARY,
    Thing.PACK: ComponentType.APPLICATION,
}
