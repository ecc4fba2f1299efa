"""The files of an image archive (`.tar`, `.tar.gz`, `.tar.zst`), on the shelf by digest: names only lead there."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from pathlib import Path

from edgemgr.bundles.foreign_tar import ForeignTar
from edgemgr.bundles.shelf import Blob, Shelf
from edgemgr.bundles.unpacking import Unpacked
from edgemgr.errors import BundleError

_MAX_LINKS_IN_A_ROW = 8

#: Called with the bytes of the packed file that were read so far, and its size.
Progress = Callable[[int, int], None]


class ArchiveFiles:
    """What an archive holds: names to blobs, links to names."""

    def __init__(self, label: str, blobs: dict[str, Blob], links: dict[str, str]) -> None:
        self.label = label
        self._blobs, self._links = blobs, links

    def find(self, name: str) -> Blob | None:
        """The file of that name, through links: `docker save` once wrote a shared layer as a link to its first."""
        name = _plain(name)
        for _ in range(_MAX_LINKS_IN_A_ROW):
            if name in self._blobs:
                return self._blobs[name]
            if name not in self._links:
                return None
            name = self._links[name]
        return None


def read_archive(path: Path, shelf: Shelf, on_progress: Progress | None = None) -> ArchiveFiles:
    """Read an archive once, from front to end.

    Raises:
        BundleError: it cannot be read (E-BUNDLE-FILE), or is damaged, cut off or made to do harm (E-BUNDLE-ARCHIVE).
    """
    blobs: dict[str, Blob] = {}
    links: dict[str, str] = {}
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            archive = ForeignTar(Unpacked(file, what=str(path)), what=str(path))
            for member in archive:
                name = _plain(member.name)
                if member.link is not None:
                    # A symbolic link is relative to its own directory, a hard link to the archive's root.
                    base = "" if member.is_hard_link else posixpath.dirname(name)
                    links[name] = _plain(posixpath.join(base, member.link))
                    continue
                blob = shelf.put(_told(archive.chunks(), lambda: on_progress and on_progress(file.tell(), size)))
                if blobs.setdefault(name, blob) != blob:
                    raise BundleError(
                        f"{path} holds two different files of the name {name!r}",
                        hint="Save the images again with one tool.",
                        code="E-BUNDLE-ARCHIVE",
                    )
    except OSError as exc:
        raise BundleError(
            f"{path} cannot be read: {exc.strerror}", hint="Mend the path in bundle.yaml.", code="E-BUNDLE-FILE"
        ) from exc
    return ArchiveFiles(str(path), blobs, links)


def _told(chunks: Iterator[bytes], tell: Callable[[], object]) -> Iterator[bytes]:
    for chunk in chunks:
        tell()
        yield chunk


def _plain(name: str) -> str:
    return posixpath.normpath(name).lstrip("/")
