"""Our own copy of a bundle → content in the store, image archives, trust, rows; in an order that survives kills."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from edgemgr.bundles import faults
from edgemgr.bundles.content import Content
from edgemgr.bundles.read import Head, read_blobs, read_head
from edgemgr.bundles.source import Source
from edgemgr.bundles.trust import TrustStore
from edgemgr.bundles.verify import verify_metadata
from edgemgr.errors import BundleError
from edgemgr.inventory.bundle_releases import (
    PlannedRelease,
    bundle_release,
    make_archive,
    plan_releases,
    release_files,
)
from edgemgr.inventory.bundle_trust import note_update
from edgemgr.inventory.content_store import ContentStore, Stored
from edgemgr.inventory.content_sweep import sweep
from edgemgr.model.bundle import Bundle, BundleState, BundleTarget
from edgemgr.model.bundle_name import BundleName
from edgemgr.model.event import Reason
from edgemgr.model.timestamp import utc_now
from edgemgr.settings import Settings
from edgemgr.store import bundles, events, releases
from edgemgr.store.bundle_item import BundleItem
from edgemgr.store.database import Database

#: Called with what is being done (`copy`, `content`, `images of …`), bytes done, and bytes in all (0: not known).
OnProgress = Callable[[str, int, int], None]


def no_progress(_step: str, _done: int, _total: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Intake:
    """One import, from the copy on."""

    database: Database
    settings: Settings
    actor: str
    accepted_reason: str
    on_progress: OnProgress

    def take(self, source: Source, digest: str, *, file_name: str) -> BundleItem:
        """Verify everything and take it in. What the store has already is not written again.

        Raises:
            BundleError: the bundle is refused; what was written of it is taken away again.
            OSError: the disk cannot be written; the same.
        """
        store, trust = ContentStore(self.settings.release_dir), TrustStore(self.settings.trust_dir)
        sweep(self.database, store)
        head, content = self._verify(source, trust, commit=False)
        bundle_id = self._begin(head, content, source.size_bytes, digest)
        written: list[str] = []
        try:
            self._take_content(source, head, content, store, written)
            with self.database.read() as session:
                planned = plan_releases(session, content, store)
            archives = list(self._make_archives(planned, content, store, written))
        except (BundleError, OSError):
            self._undo(bundle_id, store, written)
            raise
        # Trust first: a crash between the two leaves a bundle that is imported again, never an older one accepted.
        before = trust.newest(content.root.name)
        self._verify(source, trust, commit=True)
        if before is not None and before.signed.version < content.root.version:
            note_update(self.database, content.root, self.actor)
        return self._finish(bundle_id, content, archives, file_name)

    def _verify(self, source: Source, trust: TrustStore, *, commit: bool) -> tuple[Head, Content]:
        head = read_head(source)
        return head, verify_metadata(
            head, trust, now=utc_now(), commit=commit, accept_expired=bool(self.accepted_reason)
        )

    def _begin(self, head: Head, content: Content, size_bytes: int, digest: str) -> int:
        record = content.release
        fresh = Bundle(
            product=record.product,
            channel=record.channel,
            number=record.number,
            title=record.title,
            k3s_versions=list(record.k3s_versions),
            from_versions=list(record.from_versions),
            archs=[arch.value for arch in record.archs],
            root_name=content.root.name,
            key_ids=list(content.key_ids),
            targets_digest=hashlib.sha256(head.targets).hexdigest(),
            digest=digest,
            size_bytes=size_bytes,
            created_at=record.created_at,
            expires_at=content.expires_at,
        )
        targets = [
            BundleTarget(
                bundle_id=0,  # known when the row of the bundle is written
                name=target.name,
                kind=target.custom.kind.value,
                digest=target.digest,
                size_bytes=target.size_bytes,
                custom=target.custom.model_dump(mode="json", exclude_defaults=True),
            )
            for target in content.targets.values()
        ]
        with self.database.write() as session:
            known = bundles.find(session, BundleName(record.product, record.channel, record.number))
            if known is not None and known.targets_digest == fresh.targets_digest:
                # An earlier import broke off, or another machine of this appliance has it.
                known.digest, known.size_bytes = fresh.digest, fresh.size_bytes
                known.key_ids, known.expires_at = fresh.key_ids, fresh.expires_at
                return known.id or 0
            if known is not None and known.state == BundleState.IMPORTED:
                raise faults.number_used_twice(record.number)
            bundles.put(session, fresh, targets)
            return fresh.id or 0

    def _take_content(
        self, source: Source, head: Head, content: Content, store: ContentStore, written: list[str]
    ) -> None:
        done, total = 0, content.payload_bytes
        for blob in read_blobs(source, head, content):
            if not store.has(blob.digest, blob.size_bytes):
                written.append(blob.digest)
                store.take(self._told(blob.chunks(), done, total), digest=blob.digest)
            done += blob.size_bytes
            self.on_progress("content", done, total)

    def _make_archives(
        self, planned: list[PlannedRelease], content: Content, store: ContentStore, written: list[str]
    ) -> Iterator[tuple[PlannedRelease, Stored | None]]:
        for release in planned:
            step = f"images of {release.held.version} for {release.held.arch}"
            archive = make_archive(store, release, content.blobs, partial(self.on_progress, step))
            if archive is not None and release.made_before is None:
                written.append(archive.digest)
            yield release, archive

    def _told(self, chunks: Iterator[bytes], done: int, total: int) -> Iterator[bytes]:
        for chunk in chunks:
            yield chunk
            done += len(chunk)
            self.on_progress("content", done, total)

    def _undo(self, bundle_id: int, store: ContentStore, written: list[str]) -> None:
        """Take away what this import, and those that broke off before it, wrote for this bundle alone."""
        with self.database.write() as session:
            bundle = session.get(Bundle, bundle_id)
            if bundle is not None and bundle.state == BundleState.IMPORTING:
                written = [*written, *bundles.blobs_only_of(session, bundle_id)]
                bundles.drop(session, bundle)
            kept = bundles.held(session, written)
        store.remove(digest for digest in written if digest not in kept)

    def _finish(
        self,
        bundle_id: int,
        content: Content,
        archives: list[tuple[PlannedRelease, Stored | None]],
        file_name: str,
    ) -> BundleItem:
        with self.database.write() as session:
            bundle = session.get_one(Bundle, bundle_id)
            for release, archive in archives:
                session.merge(bundle_release(bundle_id, release, archive))
                if archive is not None:
                    releases.put(session, release_files(release, archive))
            bundle.state = BundleState.IMPORTED
            bundle.imported_at = utc_now()
            bundle.imported_by = self.actor
            bundle.accepted_reason = self.accepted_reason if content.expired else ""
            events.record(session, Reason.BUNDLE_IMPORTED, _account(bundle, file_name), actor=self.actor)
            return BundleItem.of(bundle, utc_now())


def _account(bundle: Bundle, file_name: str) -> str:
    expired = f"; it had expired on {bundle.expires_at:%Y-%m-%d} and was accepted: {bundle.accepted_reason}"
    return (
        f"bundle {bundle.name} was imported from {file_name}, sha256:{bundle.digest}, "
        f"signed by {', '.join(bundle.key_ids)} under root {bundle.root_name}"
        f"{expired if bundle.accepted_reason else ''}"
    )
