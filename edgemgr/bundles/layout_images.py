"""The files of an OCI image layout that lies in a directory."""

from __future__ import annotations

import re
from pathlib import Path

from edgemgr.bundles.shelf import Blob, Shelf
from edgemgr.errors import BundleError

_NAME = re.compile(r"oci-layout|index\.json|blobs/sha256/([0-9a-f]{64})")


class LayoutFiles:
    """A layout's documents and blobs, measured when they are asked for."""

    def __init__(self, directory: Path, shelf: Shelf) -> None:
        """Open a layout.

        Raises:
            BundleError: the directory is no OCI image layout (E-BUNDLE-FILE).
        """
        self.label = str(directory)
        self._directory, self._shelf = directory, shelf
        if not (directory / "oci-layout").is_file():
            raise BundleError(
                f"{directory} is no OCI image layout: it has no file oci-layout",
                hint="Give a directory as `skopeo copy … oci:DIR` writes it, or an archive with `archive:`.",
                code="E-BUNDLE-FILE",
            )

    def find(self, name: str) -> Blob | None:
        """The file of that name; only the names that a layout may have, and never through a link out of it.

        Raises:
            BundleError: a blob is not what its name says (E-BUNDLE-IMAGE).
        """
        match = _NAME.fullmatch(name)
        path = self._directory / name
        if match is None or path.is_symlink() or not path.is_file():
            return None
        blob = self._shelf.take(path)
        if match[1] and match[1] != blob.digest:
            raise BundleError(
                f"{path} is damaged: its content has the digest sha256:{blob.digest}",
                hint="Write the layout again.",
                code="E-BUNDLE-IMAGE",
            )
        return blob
