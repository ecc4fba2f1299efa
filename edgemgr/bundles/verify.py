"""Verification of a bundle: trust in its metadata first, then every byte of its blobs.

Looking at a bundle changes nothing, so that a look at number 7 does not turn an honest number 5 into a step back.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from datetime import datetime, timedelta
from pathlib import Path

from tuf.api import exceptions as tuf_errors
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

from edgemgr.bundles import faults
from edgemgr.bundles.chain import info_of, read_root
from edgemgr.bundles.content import Content
from edgemgr.bundles.documents import read_document, write_document
from edgemgr.bundles.layout import OCI_LAYOUT, index_of
from edgemgr.bundles.names import (
    INDEX_MEMBER,
    LAYOUT_MEMBER,
    SNAPSHOT_MEMBER,
    TARGETS_MEMBER,
    TIMESTAMP_MEMBER,
    root_member,
)
from edgemgr.bundles.read import Head, read_blobs, read_head
from edgemgr.bundles.signed_targets import blobs_of, read_release, read_targets
from edgemgr.bundles.source import Source, open_source
from edgemgr.bundles.trust import STATE_FILES, TrustStore
from edgemgr.bundles.updater import run_client
from edgemgr.errors import BundleError
from edgemgr.model.content import ReleaseRecord

#: A clock may be behind the signer's by so much: a wrong time zone is no reason to refuse.
CLOCK_SLACK = timedelta(days=1)

_DAMAGED = frozenset({"E-B010", "E-B011", "E-B012", "E-B020", "E-B070"})


class _Documents:
    """The metadata of a bundle, read and put side by side; nothing of it is verified."""

    def __init__(self, head: Head) -> None:
        self.roots = [read_root(data, root_member(version)) for version, data in head.roots]
        for (version, _), document in zip(head.roots, self.roots, strict=True):
            if document.signed.version != version:
                raise faults.metadata_unreadable(root_member(version), f"it is root {document.signed.version}")
        self.timestamp = read_document(Timestamp, head.timestamp, TIMESTAMP_MEMBER)
        self.snapshot = read_document(Snapshot, head.snapshot, SNAPSHOT_MEMBER)
        self.targets = read_document(Targets, head.targets, TARGETS_MEMBER)
        self.release: ReleaseRecord = read_release(self.targets.signed)
        versions = {document.signed.version for document in (self.timestamp, self.snapshot, self.targets)}
        if versions != {self.release.number}:
            raise faults.metadata_unreadable(TARGETS_MEMBER, "the documents are of different numbers")
        self.state = dict(zip(STATE_FILES, (head.timestamp, head.snapshot, head.targets), strict=True))
        self.members = {root_member(version): data for version, data in head.roots} | {
            f"tuf/{file}": data for file, data in self.state.items()
        }

    def newest(self, trusted: Metadata[Root]) -> Metadata[Root]:
        """The root that counts: the last of the bundle's chain, or the trusted one when that is later."""
        return max(trusted, self.roots[-1], key=lambda root: root.signed.version)


def verify_metadata(
    head: Head, trust: TrustStore, *, now: datetime, commit: bool = False, accept_expired: bool = False
) -> Content:
    """Verify the signed metadata and say what the bundle holds. The blobs are not looked at.

    Args:
        head: from `read_head`.
        trust: the roots to begin from, and what was trusted before.
        now: the appliance's time.
        commit: remember new roots and this bundle as the newest; call it when all the rest of an import went well.
        accept_expired: an administrator takes it although it has expired. Nothing else is forgiven.

    Raises:
        BundleError: unreadable (E-B012), a signer or root that is not trusted (E-B020), roots missing in between
            (E-B021), development keys (E-B022), expired (E-B030), a wrong clock (E-B031), older than what was
            trusted (E-B040), contents that no bundle has (E-B070), or a newer edgemgr is needed (E-B002).
    """
    documents = _Documents(head)
    with trust.locked() if commit else nullcontext():
        trusted = trust.joined(documents.roots, sorted(documents.timestamp.signatures))
        expired = _run_client(documents, trust, trusted, now, accept_expired=accept_expired)
        newest = documents.newest(trusted)
        _check_every_signature(documents, newest)
        if now + CLOCK_SLACK < documents.release.created_at:
            raise faults.clock_implausible(now, documents.release.created_at)
        _check_number(documents, trust, newest)
        targets = read_targets(documents.targets.signed)
        if head.oci_layout != OCI_LAYOUT:
            raise faults.forbidden(LAYOUT_MEMBER, "it is not that of an OCI image layout 1.0.0")
        if head.index != index_of(targets.values()):
            raise faults.forbidden(INDEX_MEMBER, "it does not follow from the signed metadata")
        content = Content(
            release=documents.release,
            targets=targets,
            blobs=blobs_of(targets.values(), head.blobs_at),
            root=info_of(newest),
            key_ids=tuple(sorted(documents.timestamp.signatures)),
            expires_at=_valid_until(documents),
            expired=expired,
        )
        if commit:
            trust.remember(documents.roots, documents.state, documents.release, now)
    return content


def verify_bundle(
    path: Path, trust: TrustStore, *, now: datetime, on_progress: Callable[[int, int], None] | None = None
) -> Content:
    """Verify a bundle to its last byte and change nothing.

    Args:
        path: what `open_source` takes.
        trust: the roots to begin from.
        now: the appliance's time.
        on_progress: is told the bytes done and the bytes in all.

    Raises:
        BundleError: as `open_source`, `read_head`, `verify_metadata` and `read_blobs` say; of a split bundle the
            message names the part that is damaged.
    """
    with open_source(path) as source:
        try:
            head = read_head(source)
            content = verify_metadata(head, trust, now=now)
            for blob in read_blobs(source, head, content):
                for _ in blob.chunks():
                    if on_progress is not None:
                        on_progress(source.tell(), source.size_bytes)
            if on_progress is not None:
                on_progress(source.size_bytes, source.size_bytes)
        except BundleError as exc:
            raise with_part(exc, source) from exc
    return content


def _run_client(
    documents: _Documents, trust: TrustStore, trusted: Metadata[Root], now: datetime, *, accept_expired: bool
) -> bool:
    """Run python-tuf's client on a copy of the state; whether the bundle has expired."""
    try:
        _client_pass(documents, trust, trusted, now)
    except tuf_errors.ExpiredMetadataError as exc:
        if not accept_expired:
            root = documents.newest(trusted).signed
            what, until = ("root", root.expires) if root.is_expired(now) else ("bundle", _valid_until(documents))
            raise faults.expired(what, until, now) from exc
        _client_pass(documents, trust, trusted, None)
        return True
    return False


def _client_pass(documents: _Documents, trust: TrustStore, trusted: Metadata[Root], now: datetime | None) -> None:
    name = info_of(trusted).name
    remembered = trust.state_dir(name, documents.release)
    with tempfile.TemporaryDirectory(prefix="edgemgr-bundle-") as scratch:
        state = Path(scratch)
        for file in STATE_FILES:
            if (remembered / file).exists():
                (state / file).write_bytes((remembered / file).read_bytes())
        try:
            run_client(state, documents.members, trusted_root=write_document(trusted), now=now)
        except tuf_errors.ExpiredMetadataError:
            raise
        except tuf_errors.UnsignedMetadataError as exc:
            raise _unsigned(documents, trust, trusted) from exc
        except tuf_errors.BadVersionNumberError as exc:
            _check_number(documents, trust, trusted)
            raise faults.metadata_unreadable(TIMESTAMP_MEMBER, "its documents are of different numbers") from exc
        except (tuf_errors.RepositoryError, tuf_errors.DownloadError, ValueError) as exc:
            raise faults.metadata_unreadable(TARGETS_MEMBER, "the documents do not belong together") from exc
        differs = [file for file in STATE_FILES if (state / file).read_bytes() != documents.state[file]]
    if "timestamp.json" in differs:
        raise faults.number_used_twice(documents.release.number)
    if differs:
        raise faults.metadata_unreadable(f"tuf/{differs[0]}", "it is not the one that the timestamp names")


def _unsigned(documents: _Documents, trust: TrustStore, trusted: Metadata[Root]) -> BundleError:
    """Which keys signed the first document that lacks signatures, and how many of them count."""
    newest = documents.newest(trusted).signed
    for document in (documents.timestamp, documents.snapshot, documents.targets):
        result = newest.get_verification_result(document.signed.type, document.signed_bytes, document.signatures)
        if not result:
            return faults.unknown_signer(
                sorted(document.signatures), trust.roots(), len(result.signed), result.threshold
            )
    raise RuntimeError("python-tuf misses a signature that is there")


def _check_every_signature(documents: _Documents, newest: Metadata[Root]) -> None:
    """The client counts valid signatures; one that is not valid beside them shows a changed byte."""
    for document in (documents.timestamp, documents.snapshot, documents.targets):
        role = document.signed.type
        result = newest.signed.get_verification_result(role, document.signed_bytes, document.signatures)
        unproven = set(document.signatures) - set(result.signed)
        if unproven:
            raise faults.bad_signature(f"{role}.json", min(unproven))


def _check_number(documents: _Documents, trust: TrustStore, root: Metadata[Root]) -> None:
    """The number may not go back, not even after a change of keys, when TUF itself forgets (5.3.11)."""
    before = trust.trusted(info_of(root).name, documents.release)
    if before is not None and documents.release.number < before.number:
        raise faults.downgrade(documents.release.number, before.number, before.trusted_at)


def _valid_until(documents: _Documents) -> datetime:
    return min(d.signed.expires for d in (documents.timestamp, documents.snapshot, documents.targets))


def with_part(exc: BundleError, source: Source) -> BundleError:
    """The same error, with the part of a split bundle that is to be copied again."""
    if exc.code not in _DAMAGED or len(source.names) == 1:
        return exc
    part = source.damaged_part()
    if part is None:
        return exc
    return BundleError(f"{exc.message} Part {part} is damaged.", hint=f"Copy part {part} again.", code=exc.code)
