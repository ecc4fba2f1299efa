"""Bundle and sites without a link → a signed work order in a directory, with the bytes and the script beside it."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from edgemgr.errors import UsageError
from edgemgr.inventory.appliance_key import OrderKey, order_key, order_private_half
from edgemgr.inventory.content_store import ContentStore
from edgemgr.inventory.workorder_files import (
    PIECE_BYTES,
    is_full,
    new_directory,
    no_room,
    sync_names,
    write_blob,
    write_file,
)
from edgemgr.inventory.workorder_plan import OrderPlan, plan_order
from edgemgr.links.ssh_signature import sign
from edgemgr.links.stick_keys import ORDER_NAMESPACE
from edgemgr.links.stick_script import SCRIPT_NAME, stage_script
from edgemgr.links.stick_stage import BLOBS_DIRECTORY, ORDER_FILE
from edgemgr.links.transfer_node import Reserve
from edgemgr.model.bundle_name import BundleName
from edgemgr.model.event import Reason
from edgemgr.model.order_document import OrderDocument
from edgemgr.model.timestamp import utc_now
from edgemgr.model.work_order import WorkOrder, WorkOrderSite
from edgemgr.settings import Settings
from edgemgr.store import events, work_orders
from edgemgr.store.database import Database
from edgemgr.vault.vault import Vault

#: A stick that lay in a drawer for longer is not used any more.
ORDER_LIFE = timedelta(days=180)


@dataclass(frozen=True)
class WrittenOrder:
    """What lies in the directory."""

    number: int
    bundle: str
    directory: str
    sites: tuple[str, ...]
    blobs: int
    size_bytes: int
    expires_at: datetime
    key: OrderKey
    script_digest: str  #: SHA-256 of the script


@dataclass(frozen=True)
class OrderWriter:
    """Writes work orders for somebody. `on_progress` is told the bytes written so far and those in all."""

    database: Database
    vault: Vault
    settings: Settings
    actor: str
    on_progress: Callable[[int, int], None] = lambda _done, _total: None
    piece_bytes: int = PIECE_BYTES

    def write(self, name: BundleName, site_ids: Sequence[int], directory: Path) -> WrittenOrder:
        """Write an order for these sites; the order itself comes last, so that half a directory is none.

        Raises:
            UsageError: as `plan_order`; the directory cannot be used (E-ORDER-DIRECTORY, E-ORDER-ROOM).
            StoreError: the content store is damaged (E-ORDER-SOURCE).
            EdgemgrError: the stick is damaged (E-ORDER-STICK).
            VaultError: the appliance's key cannot be opened.
        """
        store, now = ContentStore(self.settings.release_dir), utc_now()
        key = order_key(self.database, self.vault)
        private = order_private_half(self.database, self.vault)
        plan = plan_order(self.database, store, name, site_ids, now=now)
        total = sum(plan.blobs.values())
        was_there = directory.exists()
        new_directory(directory, total)
        document = self._begin(plan, now)
        payload = document.signed_bytes()
        script = stage_script().encode()
        try:
            (directory / BLOBS_DIRECTORY).mkdir(parents=True)
            self._write_blobs(plan, store, directory / BLOBS_DIRECTORY, total)
            write_file(directory / SCRIPT_NAME, script, 0o755)
            write_file(directory / ORDER_FILE, payload + sign(payload, private, ORDER_NAMESPACE))
        except BaseException as exc:
            self._undo(document.number, directory, keep_directory=was_there)
            if isinstance(exc, OSError):
                raise _not_written(directory, total, exc) from exc
            raise
        self._finish(plan, document)
        return WrittenOrder(
            number=document.number,
            bundle=document.bundle,
            directory=str(directory),
            sites=tuple(site.name for site in document.sites),
            blobs=len(document.blobs),
            size_bytes=total,
            expires_at=document.expires_at,
            key=key,
            script_digest=hashlib.sha256(script).hexdigest(),
        )

    def _begin(self, plan: OrderPlan, now: datetime) -> OrderDocument:
        """Give the order its number, and remember what it says. It is not listed before it is written."""
        expires_at = now + ORDER_LIFE
        if not plan.bundle.accepted_reason:
            expires_at = min(expires_at, plan.bundle.expires_at)
        row = WorkOrder(
            bundle=plan.bundle.name,
            content={arch.value: list(digests) for arch, digests in plan.content.items()},
            size_bytes=sum(plan.blobs.values()),
            created_at=now,
            created_by=self.actor,
        )
        with self.database.write() as session:
            number = work_orders.add(session, row)
            document = OrderDocument(
                number=number,
                bundle=plan.bundle.name,
                created_at=now.replace(microsecond=0),
                expires_at=expires_at.replace(microsecond=0),
                reserve_bytes=Reserve().free_bytes,
                piece_bytes=self.piece_bytes,
                sites=tuple(site for _, site in plan.sites),
                content={arch: tuple(digests) for arch, digests in plan.content.items()},
                blobs=plan.blobs,
            )
            row.digest = hashlib.sha256(document.signed_bytes()).hexdigest()
            rows = [WorkOrderSite(order_id=number, site_id=each, arch=site.arch.value) for each, site in plan.sites]
            work_orders.put_sites(session, rows)
        return document

    def _write_blobs(self, plan: OrderPlan, store: ContentStore, directory: Path, total: int) -> None:
        done = 0

        def count(size: int) -> None:
            nonlocal done
            done += size
            self.on_progress(done, total)

        for digest in sorted(plan.files):
            write_blob(directory, store, plan.files[digest], self.piece_bytes, count)
        for each in (directory, directory.parent, directory.parent.parent):
            sync_names(each)

    def _finish(self, plan: OrderPlan, document: OrderDocument) -> None:
        message = f"work order {document.number} with bundle {document.bundle} was written"
        with self.database.write() as session:
            work_orders.note_written(session, document.number, utc_now())
            for site_id, site in plan.sites:
                events.record(
                    session,
                    Reason.WORK_ORDER_WRITTEN,
                    message,
                    actor=self.actor,
                    site_id=site_id,
                    site_name=site.name,
                )

    def _undo(self, number: int, directory: Path, *, keep_directory: bool) -> None:
        with self.database.write() as session:
            work_orders.drop(session, number)
        with suppress(OSError):  # the stick may be gone
            for path in list(directory.iterdir()):
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)
            if not keep_directory:
                shutil.rmtree(directory, ignore_errors=True)


def _not_written(directory: Path, total: int, exc: OSError) -> UsageError:
    if is_full(exc):
        with suppress(OSError):
            return no_room(directory, total, shutil.disk_usage(directory.parent).free)
    return UsageError(
        f"{directory} cannot be written: {exc.strerror or exc}",
        hint="Look at the stick, or take another one.",
        code="E-ORDER-DIRECTORY",
    )
