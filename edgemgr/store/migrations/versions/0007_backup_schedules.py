"""Backup schedules per profile; and what finds who is due, however long the history"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "backup_schedule",
        sa.Column("profile", sa.String(), nullable=False),
        sa.Column("interval_s", sa.Integer(), nullable=False),
        sa.Column("hours", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("profile"),
    )
    op.create_index("site_profile", "site", ["profile", "timezone"])
    backups = sa.text("kind = 'backup'")
    op.create_index(
        "operation_backup",
        "operation",
        ["site_id", "created_at", "state"],
        sqlite_where=backups,
        postgresql_where=backups,
    )
