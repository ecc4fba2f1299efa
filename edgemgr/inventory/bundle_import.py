"""A bundle file → verified content in the appliance's store, and the rows that say so; all of it or none.

Copy first, verify the copy, take the content in, and only then remember what is trusted. Whatever breaks this off
leaves something that the next import of the same bundle goes on from.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgemgr.bundles import faults
from edgemgr.bundles.content import Content
from edgemgr.bundles.read import Head, bundle_size, read_head
from edgemgr.bundles.source import Source, open_source
from edgemgr.bundles.trust import TrustStore
from edgemgr.bundles.verify import verify_metadata, with_part
from edgemgr.errors import BundleError
from edgemgr.inventory.bundle_intake import Intake, OnProgress, no_progress
from edgemgr.inventory.bundle_room import check_room
from edgemgr.inventory.content_store import ContentStore
from edgemgr.inventory.incoming import Incoming, OwnCopy
from edgemgr.model.bundle import BundleState
from edgemgr.model.bundle_name import BundleName
from edgemgr.model.event import Reason
from edgemgr.model.timestamp import utc_now
from edgemgr.settings import Settings
from edgemgr.store import bundles, events
from edgemgr.store.bundle_item import BundleItem
from edgemgr.store.database import Database

logger = logging.getLogger(__name__)

_KEY_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Imported:
    """A bundle that is here."""

    bundle: BundleItem
    fresh: bool  #: False: it was here already, and nothing was changed


@dataclass(frozen=True)
class Importer:
    """Takes bundles in for somebody. `accepted_reason`: why a bundle may have expired; empty: it may not."""

    database: Database
    settings: Settings
    actor: str
    accepted_reason: str = ""
    on_progress: OnProgress = no_progress

    def take(self, path: Path) -> Imported:
        """Copy a bundle from a stick and take it in.

        Raises:
            BundleError: it is damaged, not trusted, expired, older than what is trusted, or there is no room;
                it cannot be read (E-BUNDLE-FILE) or fits badly to what is here. Nothing of it is kept then.
            ConflictError: another import or removal runs (E-BUNDLE-BUSY).
        """
        incoming = Incoming(self.settings.incoming_dir)
        with incoming.locked(), open_source(path) as source, self._refusals_recorded(source.name):
            known = self._known(read_head(source))
            if known is not None:
                return known
            head, content = self._inspect(source)
            name, key = _name(content), _key(source, head)
            check_room(self.settings, content, copy_bytes=source.size_bytes - incoming.copied_bytes(name, key))
            for anew in (False, True):
                copy = self._copy(incoming, source, name, key, anew=anew)
                try:
                    imported = self._take_in(copy, source.name)
                except BundleError as exc:
                    incoming.discard(name)
                    # A copy that was continued may have lost what was not on the disk yet when the power went.
                    if not copy.resumed or anew:
                        raise with_part(exc, source) from exc
                    logger.warning("the continued copy of %s was damaged; it is copied anew", source.name)
                else:
                    incoming.discard(name)
                    return imported
            raise RuntimeError("unreachable: the second copy either is taken in or raises")

    def take_own(self, path: Path, name: str) -> Imported:
        """Take in a file that is our own copy already, such as an upload. The caller removes it afterwards.

        Args:
            path: the file, in a directory that nobody else can look into.
            name: how messages call it.

        Raises:
            BundleError: as `take`.
            ConflictError: as `take`.
        """
        with Incoming(self.settings.incoming_dir).locked(), self._refusals_recorded(name):
            with open_source(path) as source:
                known = self._known(read_head(source))
                if known is not None:
                    return known
                _, content = self._inspect(source)
                check_room(self.settings, content, copy_bytes=0)
                with path.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
            return self._take_in(OwnCopy(path, digest), name)

    def _inspect(self, source: Source) -> tuple[Head, Content]:
        """Read what the file says of itself, with trust that is thrown away again: most faults show before a copy."""
        most = self.settings.bundle_max_mib << 20
        if source.size_bytes > most:
            raise faults.too_large(source.size_bytes, most)
        head = read_head(source)
        content = verify_metadata(
            head, TrustStore(self.settings.trust_dir), now=utc_now(), accept_expired=bool(self.accepted_reason)
        )
        expected = bundle_size(head.blobs_at, content)
        if source.size_bytes < expected:
            raise with_part(faults.truncated(source.size_bytes, expected), source)
        if source.size_bytes > expected:
            raise faults.forbidden("end of the archive", "something follows it")
        return head, content

    def _known(self, head: Head) -> Imported | None:
        """The same bundle, if it is here with everything that belongs to it."""
        store = ContentStore(self.settings.release_dir)
        with self.database.read() as session:
            bundle = bundles.find_same(session, hashlib.sha256(head.targets).hexdigest())
            if bundle is None or bundle.state != BundleState.IMPORTED:
                return None
            held = {target.digest: target.size_bytes for target in bundles.targets_of(session, bundle.id or 0)}
            for release in bundles.releases_of(session, bundle.id or 0):
                if release.archive_digest:
                    held[release.archive_digest] = release.archive_bytes
            if not all(store.has(digest, size) for digest, size in held.items()):
                return None
            return Imported(BundleItem.of(bundle, utc_now()), fresh=False)

    def _copy(self, incoming: Incoming, source: Source, name: BundleName, key: str, *, anew: bool) -> OwnCopy:
        def told(done: int, total: int) -> None:
            self.on_progress("copy", done, total)

        try:
            return incoming.copy(source, name, key, told, anew=anew)
        except OSError as exc:
            incoming.discard(name)
            raise self._not_written(exc, source.size_bytes) from exc

    def _take_in(self, copy: OwnCopy, name: str) -> Imported:
        intake = Intake(self.database, self.settings, self.actor, self.accepted_reason, self.on_progress)
        with open_source(copy.path) as source:
            try:
                bundle = intake.take(source, copy.digest, file_name=name)
            except OSError as exc:
                raise self._not_written(exc, source.size_bytes) from exc
        return Imported(bundle, fresh=True)

    def _not_written(self, exc: OSError, needed_bytes: int) -> BundleError:
        where = self.settings.state_dir
        if exc.errno == errno.ENOSPC:
            return faults.no_room(needed_bytes, shutil.disk_usage(where).free, str(where))
        return faults.unusable_file(str(where), exc.strerror or str(exc))

    @contextmanager
    def _refusals_recorded(self, name: str) -> Iterator[None]:
        try:
            yield
        except BundleError as exc:
            with self.database.write() as session:
                message = f"{name} was refused: {exc.message} ({exc.code})"
                events.record(session, Reason.BUNDLE_REFUSED, message, actor=self.actor, warning=True)
            raise


def _name(content: Content) -> BundleName:
    return BundleName(content.release.product, content.release.channel, content.release.number)


def _key(source: Source, head: Head) -> str:
    """SHA-256 of everything before the content. It names every byte that follows, by digest."""
    digest, left = hashlib.sha256(), head.blobs_at
    source.seek(0)
    while left and (block := source.read(min(left, _KEY_BLOCK_BYTES))):
        digest.update(block)
        left -= len(block)
    return digest.hexdigest()
