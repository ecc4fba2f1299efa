"""ArchiveRecipe: how an image archive is put together from the layers that images share."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Slice:
    """The whole content of one blob, at one place of an archive."""

    digest: str
    size_bytes: int


@dataclass(frozen=True)
class ArchiveRecipe:
    """Literal bytes and blobs whose concatenation is the archive with that digest and size."""

    digest: str
    size_bytes: int
    parts: tuple[bytes | Slice, ...]

    @property
    def slices(self) -> tuple[Slice, ...]:
        """The blobs in it; each once, as archives hold them."""
        return tuple(part for part in self.parts if isinstance(part, Slice))
