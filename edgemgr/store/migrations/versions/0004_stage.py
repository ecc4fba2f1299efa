"""Stages: how far each site's transfer has come, what limits transfers, and waiting for a window"""

from typing import Any

import sqlalchemy as sa
from alembic import op

from edgemgr.model.timestamp import UtcDateTime

revision = "0004"
down_revision = "0003"

_MOMENT = "state = 'queued' AND waiting_for IN ('contact','backoff','window')"


def upgrade() -> None:
    op.create_table(
        "transfer",
        sa.Column("site_id", sa.Integer(), nullable=False),
        sa.Column("bundle", sa.String(), nullable=False),
        sa.Column("total_bytes", sa.BigInteger(), nullable=False),
        sa.Column("held_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sent_bytes", sa.BigInteger(), nullable=False),
        sa.Column("log_mean", sa.Float(), nullable=True),
        sa.Column("log_variance", sa.Float(), nullable=True),
        sa.Column("updated_at", UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("site_id"),
    )
    op.create_table(
        "transfer_limit",
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("bytes_s", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("scope"),
    )
    op.create_table(
        "transfer_window",
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("hours", sa.String(), nullable=False),
        sa.Column("timezone", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("scope"),
    )
    # What waits for a window is found as what waits for any other moment.
    op.drop_index("operation_later", "operation")
    index: dict[str, Any] = {
        "sqlite_where": sa.text(f"is_head = 1 AND {_MOMENT}"),
        "postgresql_where": sa.text(f"is_head AND {_MOMENT}"),
    }
    op.create_index("operation_later", "operation", ["is_head", "state", "not_before", "waiting_for"], **index)
