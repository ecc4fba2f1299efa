"""Backups: what the appliance holds of each site's cluster; and how full its disk was"""

import sqlalchemy as sa
from alembic import op

from edgemgr.model.numbers import GrowingNumber
from edgemgr.model.timestamp import UtcDateTime

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "backup",
        sa.Column("id", GrowingNumber, nullable=False),
        sa.Column("site_id", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("taken_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("pulled_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("k3s_version", sa.String(), nullable=False),
        sa.Column("datastore", sa.String(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("added_bytes", sa.BigInteger(), nullable=False),
        sa.Column("is_held", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("backup_site_attempt", "backup", ["site_id", "attempt"], unique=True)
    op.create_table(
        "disk_history",
        sa.Column("site_id", sa.Integer(), nullable=False),
        sa.Column("points", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("site_id"),
    )
