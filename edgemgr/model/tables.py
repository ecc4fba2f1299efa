"""All tables in one place, for whoever needs the whole schema."""

from __future__ import annotations

from sqlmodel import SQLModel

from edgemgr.model import (
    attempt,
    backup,
    backup_schedule,
    bundle,
    cluster,
    disk_history,
    event,
    limit,
    operation,
    release_file,
    secret,
    site,
    transfer,
    work_order,
    worker,
)

TABLES = (
    site.Site,
    site.SiteLabel,
    site.Group,
    cluster.Cluster,
    operation.Operation,
    attempt.Attempt,
    event.Event,
    worker.Worker,
    limit.QueueLimit,
    secret.SealedSecret,
    release_file.ReleaseFile,
    bundle.Bundle,
    bundle.BundleTarget,
    bundle.BundleRelease,
    transfer.Transfer,
    transfer.TransferLimit,
    transfer.TransferWindow,
    work_order.ApplianceKey,
    work_order.WorkOrder,
    work_order.WorkOrderSite,
    backup.Backup,
    backup_schedule.BackupSchedule,
    disk_history.DiskHistory,
)
METADATA = SQLModel.metadata
