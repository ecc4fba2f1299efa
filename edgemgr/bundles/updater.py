"""python-tuf's client, fed from the bundle: it decides on signatures, thresholds, expiry and going back.

Measured with tuf 7.0.1: an older timestamp raises BadVersionNumberError, one of the same version is dropped without
a word after its signature was verified, and then the remembered metadata is used instead of the bundle's. So what
the client ended up with is compared with the bundle, byte for byte.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient import Updater, UpdaterConfig
from tuf.ngclient.fetcher import FetcherInterface

from edgemgr.bundles.names import CAPS

_BASE = "bundle:///tuf/"
_NOT_FOUND = 404
#: Before every expiry, so that nothing is expired.
_NO_TIME = datetime.min.replace(tzinfo=UTC)

# Its messages name signatures that were not valid; what matters of them reaches the user as an error.
logging.getLogger("tuf").addHandler(logging.NullHandler())


class _FromBundle(FetcherInterface):
    """Serves the documents of one bundle and nothing else."""

    def __init__(self, documents: Mapping[str, bytes]) -> None:
        self._documents = documents

    def _fetch(self, url: str) -> Iterator[bytes]:
        data = self._documents.get(urlsplit(url).path.lstrip("/"))
        if data is None:
            raise DownloadHTTPError(f"{url} is not in the bundle", _NOT_FOUND)
        return iter((data,))


def run_client(state: Path, documents: Mapping[str, bytes], *, trusted_root: bytes, now: datetime | None) -> None:
    """Take the client through its whole workflow; afterwards `state` holds what it trusts.

    Args:
        state: a directory with the remembered timestamp, snapshot and targets, if any; it is written to.
        documents: the bundle's metadata by member name.
        trusted_root: where trust begins.
        now: the time for expiry; None: nothing expires.

    Raises:
        tuf.api.exceptions.RepositoryError: by kind, what is wrong.
        tuf.api.exceptions.DownloadError: a document is longer than the signed metadata says.
    """
    config = UpdaterConfig(
        max_root_rotations=CAPS.root_chain,
        max_delegations=0,
        root_max_length=CAPS.root,
        timestamp_max_length=CAPS.timestamp,
        snapshot_max_length=CAPS.snapshot,
        targets_max_length=CAPS.targets_json,
    )
    client = Updater(str(state), _BASE, fetcher=_FromBundle(documents), config=config, bootstrap=trusted_root)
    # The client has no argument for the time; its own is read once, at this place, from the machine's clock.
    client._trusted_set.reference_time = now or _NO_TIME  # noqa: SLF001
    client.refresh()
