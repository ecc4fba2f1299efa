"""What can be wrong with backups on the appliance's side."""

from __future__ import annotations

from edgemgr.errors import EdgemgrError, Retry


class BackupStoreError(EdgemgrError):
    """A site's backup store is damaged or cannot be used."""

    code = "E-BACKUP-STORE"
    retry = Retry.BUDGETED


def damaged(site: str, why: str) -> BackupStoreError:
    """A backup cannot be read back as it was written."""
    return BackupStoreError(
        f"a backup of site {site} is damaged in this appliance's store: {why}",
        hint="Take a new backup: it brings what is damaged here anew. Then look at the appliance's disk.",
        code="E-BACKUP-STORE-DAMAGED",
    )


def unusable(site: str, exc: OSError) -> BackupStoreError:
    """The disk refused."""
    return BackupStoreError(
        f"the backup store of site {site} cannot be used: {exc.strerror or exc}",
        hint="Look at the appliance's disk (df, dmesg) and at who owns the directory `backups` in state_dir.",
        code="E-BACKUP-STORE-IO",
    )


def busy(site: str) -> BackupStoreError:
    """Somebody else has it."""
    return BackupStoreError(
        f"the backup store of site {site} is in use by another process",
        hint="Wait until the backup, restore or prune that runs for this site has ended.",
        code="E-BACKUP-STORE-BUSY",
    )


def unknown(site: str, digest: str) -> BackupStoreError:
    """It is not here."""
    error = BackupStoreError(
        f"this appliance holds no backup {digest[:12]}… of site {site}",
        hint="Choose one of those that are listed for the site; older ones went by the rule of retention.",
        code="E-BACKUP-UNKNOWN",
    )
    error.retry = Retry.NEVER
    error.exit_status = 3
    return error
