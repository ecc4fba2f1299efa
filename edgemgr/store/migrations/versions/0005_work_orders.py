"""Work orders: the appliance's own key, what was put on sticks, and what sites confirmed"""

import sqlalchemy as sa
from alembic import op

from edgemgr.model.numbers import GrowingNumber
from edgemgr.model.timestamp import UtcDateTime

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "appliance_key",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("public_key", sa.String(), nullable=False),
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("wrapped_key", sa.LargeBinary(), nullable=False),
        sa.Column("nonce", sa.LargeBinary(), nullable=False),
        sa.Column("ciphertext", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "work_order",
        sa.Column("id", GrowingNumber, nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("bundle", sa.String(), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("created_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("written_at", UtcDateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "work_order_site",
        sa.Column("order_id", GrowingNumber, nullable=False),
        sa.Column("site_id", sa.Integer(), nullable=False),
        sa.Column("arch", sa.String(), nullable=False),
        sa.Column("receipt_digest", sa.String(), nullable=False),
        sa.Column("received_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("received_by", sa.String(), nullable=False),
        sa.Column("staged_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("copied_bytes", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["order_id"], ["work_order.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("order_id", "site_id"),
    )
    op.create_index("ix_work_order_site_site_id", "work_order_site", ["site_id"])
