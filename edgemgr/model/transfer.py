"""Transfer: how far a site's stage has come and how fast its link is; and what limits transfers."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger
from sqlmodel import Field, SQLModel

from edgemgr.model.throughput import Throughput
from edgemgr.model.timestamp import UtcDateTime, utc_now


class Transfer(SQLModel, table=True):
    """One row per Site: its latest transfer, and its rate as learnt from all of them."""

    __tablename__ = "transfer"

    site_id: int = Field(primary_key=True, foreign_key="site.id", ondelete="CASCADE")
    bundle: str  #: `PRODUCT/CHANNEL/NUMBER`
    total_bytes: int = Field(default=0, sa_type=BigInteger)  #: of everything that the site is to hold of the bundle
    held_bytes: int = Field(default=0, sa_type=BigInteger)  #: of these the node had when the latest attempt began
    sent_bytes: int = Field(default=0, sa_type=BigInteger)  #: sent by the latest attempt
    log_mean: float | None = None  #: see `Throughput`; None: nothing was ever sent to this site
    log_variance: float | None = None
    updated_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)

    @property
    def remaining_bytes(self) -> int:
        """What still has to travel."""
        return max(0, self.total_bytes - self.held_bytes - self.sent_bytes)

    @property
    def throughput(self) -> Throughput | None:
        """The site's rate, if anything is known of it."""
        if self.log_mean is None or self.log_variance is None:
            return None
        return Throughput(self.log_mean, self.log_variance)

    @throughput.setter
    def throughput(self, learnt: Throughput | None) -> None:
        self.log_mean = None if learnt is None else learnt.log_mean
        self.log_variance = None if learnt is None else learnt.log_variance


class TransferLimit(SQLModel, table=True):
    """So many bytes a second at most for all transfers within a scope together (model/transfer_scope.py)."""

    __tablename__ = "transfer_limit"

    scope: str = Field(primary_key=True)
    bytes_s: int = Field(sa_type=BigInteger)


class TransferWindow(SQLModel, table=True):
    """The hours of the week in which sites within a scope may be sent bytes."""

    __tablename__ = "transfer_window"

    scope: str = Field(primary_key=True)
    hours: str  #: as `Window.parse` reads them
    timezone: str
