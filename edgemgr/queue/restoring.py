"""Before a restore's playbook: the backup comes to the node, unless the node has kept it itself.

It is decrypted here into a private directory and sent over SFTP into the node's content store, from where the playbook
takes and then removes it. Windows are not asked, since an operator waits; limits hold.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path

from edgemgr.inventory.backup_shelf import private_directory
from edgemgr.inventory.backup_store import open_store
from edgemgr.links.backup_pull import list_backups
from edgemgr.links.connection import Connection
from edgemgr.links.ssh import connect
from edgemgr.links.transfer import Stop, send_blobs
from edgemgr.links.transfer_node import MIB, Reserve
from edgemgr.links.transfer_plan import Blob
from edgemgr.model.attempt import AttemptResult, Outcome
from edgemgr.operations.restore import RestoreParams
from edgemgr.queue.errand import Errand
from edgemgr.queue.traffic import traffic_of
from edgemgr.store import stages

logger = logging.getLogger(__name__)

CANCELED = AttemptResult(Outcome.CANCELED, message="canceled before anything was changed on the node")
#: As much as the restore itself wants to stay free on the node (`edge_min_free_mib`).
RESERVE = Reserve(free_bytes=1024 * MIB)


def bring_backup(errand: Errand, *, within_s: float) -> AttemptResult | None:
    """Bring the backup to the node; None: the playbook may begin.

    Raises:
        SiteUnreachableError: the connection was lost.
        SiteError: as `send_blobs`.
        BackupStoreError: the backup is gone from this appliance, or damaged.
    """
    wanted = RestoreParams.model_validate(errand.claimed.operation.params)
    until = time.monotonic() + within_s
    with connect(errand.target, timeout_s=errand.settings.connect_timeout_s) as connection:
        # What the node kept may have been damaged since: then its first attempt says so, and the next one sends it.
        is_first = errand.claimed.attempt.number == 1
        if is_first and list_backups(connection).get(wanted.backup) == wanted.digest:
            return None
        with private_directory(errand.settings, errand.target.name) as place:
            blobs = _decrypted(errand, wanted.digest, place)
            return _send(errand, connection, blobs, until)


def _decrypted(errand: Errand, digest: str, place: Path) -> list[Blob]:
    """Write the manifest and each part into a directory, as files to be sent."""
    with open_store(errand.settings.backup_dir, errand.vault, errand.target.name) as store:
        text = store.manifest_text(digest)
        (place / "manifest.json").write_bytes(text)
        blobs = [Blob(digest, len(text), place / "manifest.json")]
        for part in store.manifest(digest).parts:
            store.write_part(digest, part.name, place / part.name)
            blobs.append(Blob(part.sha256, part.size_bytes, place / part.name))
    return blobs


def _send(errand: Errand, connection: Connection, blobs: list[Blob], until: float) -> AttemptResult | None:
    with errand.database.read() as session:
        parts = stages.parts_of(session, errand.site_id)
    sent = send_blobs(
        connection,
        blobs,
        attempt=errand.attempt_id,
        throttle=traffic_of(errand.database).of_site(parts).throttle,
        is_canceled=errand.is_canceled,
        is_open=lambda: time.monotonic() < until,
        reserve=RESERVE,
    )
    logger.info("%s: the backup was sent: %d bytes", errand.target.name, sent.sent_bytes)
    if sent.stop is Stop.CANCELED:
        return CANCELED
    if sent.stop is Stop.WINDOW:
        return AttemptResult(
            Outcome.TIMED_OUT,
            code="E-RUNNER-TIMEOUT",
            message="the backup did not come to the node in time",
            hint="The next attempt goes on from there.",
        )
    return None
