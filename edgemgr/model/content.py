"""What a bundle says of itself and of each of its files: signed data that others share."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from edgemgr.errors import ReleaseError
from edgemgr.model.digest import Digest
from edgemgr.model.release import Arch
from edgemgr.model.version import K3sVersion
from edgemgr.model.version_bound import VersionBound

#: No k3s release is in sight of this many versions in one bundle.
_MANY = 64
_MAX_CHUNKS = 2048  # 8 GiB in chunks of 4 MiB

#: Product and channel are names of directories too: no slash, no dot at the front.
ProductName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
ChannelName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{0,62}$")]
_Line = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]*$", max_length=300)]


class TargetKind(StrEnum):
    """What a file of a bundle is."""

    K3S_BINARY = "k3s-binary"
    IMAGE = "image"  #: the manifest of one container image
    IMAGE_BLOB = "image-blob"  #: the configuration or a layer of an image
    CHART = "chart"
    MANIFEST = "manifest"
    PACK = "pack"
    PLAYBOOKS = "playbooks"
    WHEEL = "wheel"
    NOTES = "notes"
    SBOM = "sbom"


class Place(StrEnum):
    """Where a file goes. A closed list: a bundle never names a path."""

    BINARY = "binary"  #: the site's k3s program
    IMAGES = "images"  #: the site's image store
    CHART = "chart"
    MANIFEST = "manifest"
    PACK = "pack"
    APPLIANCE = "appliance"  #: stays on the appliance: its own playbooks and wheels
    NONE = "none"  #: for people to read


PLACES = {
    TargetKind.K3S_BINARY: Place.BINARY,
    TargetKind.IMAGE: Place.IMAGES,
    TargetKind.IMAGE_BLOB: Place.IMAGES,
    TargetKind.CHART: Place.CHART,
    TargetKind.MANIFEST: Place.MANIFEST,
    TargetKind.PACK: Place.PACK,
    TargetKind.PLAYBOOKS: Place.APPLIANCE,
    TargetKind.WHEEL: Place.APPLIANCE,
    TargetKind.NOTES: Place.NONE,
    TargetKind.SBOM: Place.NONE,
}


class _Signed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class TargetCustom(_Signed):
    """What the signed metadata says of one file beyond its length and digest.

    Read it with `model_validate_json`: strict mode takes enums and dates from text only there.
    """

    kind: TargetKind
    place: Place
    os: Literal["linux"] | None = None
    arch: Arch | None = None  #: None: for every architecture
    k3s_version: str | None = None
    requires_from: tuple[str, ...] = Field((), max_length=_MANY)  #: versions that it may start from, as bounds
    ref: Annotated[str, StringConstraints(pattern=r"^[!-~]{1,512}$")] | None = None  #: full name:tag of an image
    media_type: Annotated[str, StringConstraints(pattern=r"^[!-~]{1,128}$")] | None = None
    uncompressed_size: int | None = Field(None, ge=0)  #: bytes of an unpacked layer
    chunk_bytes: int | None = Field(None, ge=1)
    chunks: tuple[Digest, ...] = Field((), max_length=_MAX_CHUNKS)  #: SHA-256 of each chunk, in order

    @field_validator("k3s_version")
    @classmethod
    def _is_k3s_version(cls, value: str | None) -> str | None:
        return value if value is None else _k3s_version(value)

    @field_validator("requires_from")
    @classmethod
    def _are_bounds(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _bounds(value)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.place is not PLACES[self.kind]:
            raise ValueError(f"a {self.kind} does not go to {self.place}")
        if (self.kind is TargetKind.IMAGE) != (self.ref is not None):
            raise ValueError("an image, and nothing else, has a full name")
        if self.kind in (TargetKind.IMAGE, TargetKind.IMAGE_BLOB) and self.media_type is None:
            raise ValueError("parts of images have a media type")
        if self.kind in (TargetKind.IMAGE, TargetKind.K3S_BINARY) and self.arch is None:
            raise ValueError(f"a {self.kind} is for one architecture")
        if self.kind is TargetKind.K3S_BINARY and self.k3s_version is None:
            raise ValueError("a k3s binary has a version")
        if (self.chunk_bytes is None) != (not self.chunks):
            raise ValueError("chunks and their size come together")
        return self


class ReleaseRecord(_Signed):
    """What a bundle is: the signed record on its front."""

    product: ProductName
    channel: ChannelName
    number: int = Field(ge=1, le=2**31 - 1)  #: grows with every bundle of the product in the channel
    title: _Line
    k3s_versions: tuple[str, ...] = Field((), max_length=_MANY)
    from_versions: tuple[str, ...] = Field((), max_length=_MANY)  #: versions that sites may start from, as bounds
    archs: tuple[Arch, ...] = Field((), max_length=len(Arch))
    created_at: datetime
    min_free_bytes: int = Field(0, ge=0)  #: free space that a site must have
    min_edgemgr: Annotated[str, StringConstraints(pattern=r"^\d{1,4}(\.\d{1,4}){0,3}$")] = "0"
    notes: Annotated[str, StringConstraints(max_length=4000)] = ""

    @field_validator("k3s_versions")
    @classmethod
    def _are_k3s_versions(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_k3s_version(version) for version in value)

    @field_validator("from_versions")
    @classmethod
    def _are_bounds(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _bounds(value)

    @field_validator("created_at")
    @classmethod
    def _is_utc(cls, value: datetime) -> datetime:
        if value.tzinfo is None:
            raise ValueError("a time has a zone")
        return value.astimezone(UTC).replace(microsecond=0)


def _k3s_version(text: str) -> str:
    try:
        version = K3sVersion.parse(text)
    except ReleaseError as exc:
        raise ValueError(exc.message) from exc
    if str(version) != text:
        raise ValueError(f"{text!r} is written {version}")
    return text


def _bounds(value: tuple[str, ...]) -> tuple[str, ...]:
    for text in value:
        if VersionBound.parse(text) is None:
            raise ValueError(f"{text!r} is no bound such as v1.33")
    return value
