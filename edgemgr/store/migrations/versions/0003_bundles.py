"""Bundles: what was taken in, what each holds, and which k3s versions come from it"""

import sqlalchemy as sa
from alembic import op

from edgemgr.model.timestamp import UtcDateTime

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "bundle",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("product", sa.String(), nullable=False),
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("k3s_versions", sa.JSON(), nullable=False),
        sa.Column("from_versions", sa.JSON(), nullable=False),
        sa.Column("archs", sa.JSON(), nullable=False),
        sa.Column("root_name", sa.String(), nullable=False),
        sa.Column("key_ids", sa.JSON(), nullable=False),
        sa.Column("targets_digest", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("created_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("expires_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("begun_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("imported_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("imported_by", sa.String(), nullable=False),
        sa.Column("accepted_reason", sa.Text(), nullable=False),
        sa.CheckConstraint("state IN ('importing','imported')", name="bundle_state"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("product", "channel", "number", name="bundle_name"),
    )
    op.create_table(
        "bundle_target",
        sa.Column("bundle_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("custom", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["bundle_id"], ["bundle.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("bundle_id", "name"),
    )
    op.create_index("bundle_target_digest", "bundle_target", ["digest", "bundle_id"])
    op.create_table(
        "bundle_release",
        sa.Column("bundle_id", sa.Integer(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("arch", sa.String(), nullable=False),
        sa.Column("archive_digest", sa.String(), nullable=False),
        sa.Column("archive_bytes", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["bundle_id"], ["bundle.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("bundle_id", "version", "arch"),
    )
    op.create_index("bundle_release_version", "bundle_release", ["version", "arch"])
