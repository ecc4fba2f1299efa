"""What an import needs on the disk, beside what there is. A pure rule."""

from __future__ import annotations

from dataclasses import dataclass

#: Kept free for the database and logs, which share the disk.
SPARE_BYTES = 64 << 20


@dataclass(frozen=True)
class DiskNeed:
    """Bytes that an import will write. All three lie on the disk at the same time."""

    copy_bytes: int = 0  #: rest of our own copy of the file
    blob_bytes: int = 0  #: content that the store lacks
    archive_bytes: int = 0  #: image archives that are made of it, at most

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return self.copy_bytes + self.blob_bytes + self.archive_bytes

    def fits_disk(self, free_bytes: int) -> bool:
        """Whether it fits into the free space and leaves the spare."""
        return self.total_bytes == 0 or self.total_bytes + SPARE_BYTES <= free_bytes

    def fits_quota(self, used_bytes: int, quota_bytes: int) -> bool:
        """Whether it fits into what the quota leaves."""
        return self.total_bytes == 0 or used_bytes + self.total_bytes <= quota_bytes
