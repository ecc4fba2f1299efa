from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgemgr.model.disk_need import SPARE_BYTES, DiskNeed

SIZE = st.integers(0, 1 << 45)


@given(SIZE, SIZE, SIZE, SIZE)
def test_what_fits_leaves_the_spare(copy: int, blobs: int, archives: int, free: int) -> None:
    need = DiskNeed(copy, blobs, archives)
    if need.fits_disk(free) and need.total_bytes:
        assert free - copy - blobs - archives >= SPARE_BYTES


@given(SIZE, SIZE, SIZE)
def test_the_quota_is_never_passed(copy: int, used: int, quota: int) -> None:
    need = DiskNeed(copy_bytes=copy)
    if need.fits_quota(used, quota) and need.total_bytes:
        assert used + copy <= quota


def test_what_needs_nothing_fits_everywhere() -> None:
    assert DiskNeed().fits_disk(0)
    assert DiskNeed().fits_quota(100, 1)


def test_a_byte_too_many_does_not_fit() -> None:
    assert DiskNeed(copy_bytes=10).fits_disk(SPARE_BYTES + 10)
    assert not DiskNeed(copy_bytes=11).fits_disk(SPARE_BYTES + 10)
    assert DiskNeed(copy_bytes=10).fits_quota(90, 100)
    assert not DiskNeed(copy_bytes=11).fits_quota(90, 100)
