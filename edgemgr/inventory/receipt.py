"""Receipts from sites without a link → what lies there, since when, by which order; or a refusal that is recorded.

A receipt is believed for one reason only: it is signed with the host key that is pinned for its site now. Everything
else in it is then held against the order that this appliance wrote.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import ValidationError

from edgemgr.errors import ConflictError, EdgemgrError, UsageError
from edgemgr.links import ssh_signature
from edgemgr.links.stick_copy import open_plain
from edgemgr.links.stick_keys import RECEIPT_NAMESPACE, split_signed
from edgemgr.links.stick_stage import RECEIPT_ENDING, RECEIPTS_DIRECTORY
from edgemgr.model.event import Reason
from edgemgr.model.order_document import ReceiptDocument
from edgemgr.model.site import Site, Trust
from edgemgr.model.timestamp import utc_now
from edgemgr.model.work_order import WorkOrder, WorkOrderSite
from edgemgr.store import events, work_orders
from edgemgr.store.database import Database, Session

MAX_RECEIPT_BYTES = 4 << 20
_MAX_FILES = 20_000
_SHOWN = 300
#: How far ahead of ours a node's clock may be.
_AHEAD = timedelta(days=1)


@dataclass(frozen=True)
class Outcome:
    """What became of one file."""

    file: str
    order: int | None = None
    site: str | None = None
    bundle: str | None = None
    staged_at: datetime | None = None
    blobs: int = 0
    error: EdgemgrError | None = None  #: why it was refused


@dataclass(frozen=True)
class _Known:
    """What this appliance knows of the order and the site that a receipt names."""

    order: WorkOrder
    row: WorkOrderSite
    site: Site


def receipt_files(path: Path) -> list[Path]:
    """The receipts in a file or directory; a stick has them in a directory of their own.

    Raises:
        UsageError: there is none (E-RECEIPT-FILE).
    """
    try:
        if not path.is_dir():
            return [path]
        found = sorted(_in(path))
    except OSError as exc:
        raise _unreadable(path, exc.strerror or str(exc)) from exc
    if not found:
        raise _unreadable(path, f"there is no file *{RECEIPT_ENDING} in it")
    if len(found) > _MAX_FILES:
        raise _unreadable(path, f"it holds more than {_MAX_FILES} receipts")
    return found


def _in(directory: Path) -> Iterator[Path]:
    for where in (directory, directory / RECEIPTS_DIRECTORY):
        if where.is_dir():
            yield from (path for path in where.iterdir() if path.name.endswith(RECEIPT_ENDING))


def import_receipt(database: Database, path: Path, *, actor: str) -> Outcome:
    """Take one receipt in, or record why it is refused.

    Raises:
        StoreError: the database cannot be used.
    """
    name = printable(path.name)
    try:
        data = _read(path)
        with database.write() as session:
            return _take(session, data, name, actor)
    except UsageError as exc:
        with database.write() as session:
            message = f"{name} was refused: {exc.message} ({exc.code})"
            events.record(session, Reason.RECEIPT_REFUSED, message, actor=actor, warning=True)
        return Outcome(name, error=exc)


def _take(session: Session, data: bytes, name: str, actor: str) -> Outcome:
    receipt, payload, signature = _parsed(data)
    known = _known(session, receipt)
    _check_signature(known.site, payload, signature)
    _check_content(known, receipt)
    digest = hashlib.sha256(payload).hexdigest()
    row, now = known.row, utc_now()
    if row.received_at is not None:
        raise ConflictError(
            f"site {receipt.site} has confirmed order {receipt.order} already, {row.received_at:%Y-%m-%d %H:%M} UTC"
            + (" with this very receipt" if row.receipt_digest == digest else ""),
            hint="Nothing is to be done: an order counts once. `edgemgr receipt list` shows what each site confirmed.",
            code="E-RECEIPT-REPLAYED",
        )
    row.receipt_digest, row.received_at, row.received_by = digest, now, actor
    row.copied_bytes = receipt.copied_bytes
    # The clock of a node without battery may stand in 1970: such a time is not believed.
    is_plausible = known.order.created_at - _AHEAD <= receipt.finished_at <= now + _AHEAD
    row.staged_at = receipt.finished_at if is_plausible else None
    session.add(row)
    when = f"{receipt.finished_at:%Y-%m-%d %H:%M} UTC" if is_plausible else "at a time that its clock does not tell"
    events.record(
        session,
        Reason.RECEIPT_IMPORTED,
        f"work order {receipt.order}: {len(receipt.blobs)} files of bundle {known.order.bundle} lie there, {when}",
        actor=actor,
        site_id=known.site.id,
        site_name=known.site.name,
    )
    return Outcome(name, receipt.order, receipt.site, known.order.bundle, row.staged_at, len(receipt.blobs))


def _parsed(data: bytes) -> tuple[ReceiptDocument, bytes, bytes]:
    try:
        payload, signature = split_signed(data)
        return ReceiptDocument.model_validate_json(payload), payload, signature
    except ValidationError as exc:
        raise _no_receipt(str(exc.errors(include_input=False, include_url=False)[0]["msg"])) from exc
    except ValueError as exc:
        raise _no_receipt(str(exc)) from exc


def _known(session: Session, receipt: ReceiptDocument) -> _Known:
    order = work_orders.find(session, receipt.order)
    if order is None or order.digest != receipt.order_digest:
        why = "has no order of that number" if order is None else "wrote another order under that number"
        raise UsageError(
            f"this receipt is for order {receipt.order}, and this appliance {why}",
            hint="It belongs to another appliance, or to one that was restored from an older backup.",
            code="E-RECEIPT-ORDER",
        )
    found = work_orders.site_of(session, receipt.order, receipt.site)
    if found is None:
        raise UsageError(
            f"order {receipt.order} is not for site {receipt.site}",
            hint="`edgemgr receipt list` shows the sites of each order.",
            code="E-RECEIPT-SITE",
        )
    return _Known(order, *found)


def _check_signature(site: Site, payload: bytes, signature: bytes) -> None:
    if site.trust != Trust.PINNED.value or site.host_key_fingerprint is None:
        raise UsageError(
            f"no host key is pinned for site {site.name} (it is {site.trust}): nothing that it signs can be believed",
            hint=f"Compare its key on the node, then `edgemgr site trust {site.name} --fingerprint SHA256:…`.",
            code="E-RECEIPT-PIN",
        )
    try:
        ssh_signature.verify(payload, signature, pin=site.host_key_fingerprint, namespace=RECEIPT_NAMESPACE)
    except ssh_signature.WrongSignerError as exc:
        raise UsageError(
            f"this receipt is signed by {exc.fingerprint}; pinned for site {site.name} is {site.host_key_fingerprint}",
            hint="Somebody else wrote it, or the node was replaced: find out which.",
            code="E-RECEIPT-KEY",
        ) from exc
    except ValueError as exc:
        raise UsageError(
            f"the signature of this receipt does not hold for site {site.name}: {exc}",
            hint="Its text was changed or damaged. The node has it too, below /var/lib/edgemgr/receipts.",
            code="E-RECEIPT-SIGNATURE",
        ) from exc


def _check_content(known: _Known, receipt: ReceiptDocument) -> None:
    asked = known.order.content.get(known.row.arch, [])
    told = (receipt.host_key, receipt.arch.value, list(receipt.blobs))
    if told != (known.site.host_key_fingerprint, known.row.arch, sorted(asked)):
        raise UsageError(
            f"this receipt of site {receipt.site} does not say what order {receipt.order} asked for",
            hint="The script on the stick was another one than edgemgr wrote. Stage the site again.",
            code="E-RECEIPT-CONTENT",
        )


def _read(path: Path) -> bytes:
    try:
        with open_plain(path) as file:
            data = file.read(MAX_RECEIPT_BYTES + 1)
    except OSError as exc:
        raise _unreadable(path, exc.strerror or str(exc)) from exc
    if len(data) > MAX_RECEIPT_BYTES:
        raise _no_receipt("it is too large")
    return data


def printable(text: str) -> str:
    """A name from a stick, which may hold what a terminal would act upon or what is no text at all."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:_SHOWN]


def _unreadable(path: Path, why: str) -> UsageError:
    return UsageError(
        f"{printable(str(path))} cannot be read as receipts: {why}",
        hint=f"Name a file that ends in {RECEIPT_ENDING}, or the directory of the stick.",
        code="E-RECEIPT-FILE",
    )


def _no_receipt(why: str) -> UsageError:
    return UsageError(
        f"this is no receipt: {why}",
        hint="The file may be damaged. The node has it too, below /var/lib/edgemgr/receipts.",
        code="E-RECEIPT-FORMAT",
    )
