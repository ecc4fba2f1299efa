"""First tables"""

import sqlalchemy as sa
from alembic import op

from edgemgr.model.timestamp import UtcDateTime
from edgemgr.store import schema

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "event",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("site_id", sa.Integer(), nullable=True),
        sa.Column("site_name", sa.String(), nullable=True),
        sa.Column("operation_id", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("event", schema=None) as batch_op:
        batch_op.create_index("event_operation", ["operation_id", "id"], unique=False)
        batch_op.create_index("event_site", ["site_id", "id"], unique=False)

    op.create_table(
        "release_file",
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("arch", sa.String(), nullable=False),
        sa.Column("part", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("added_at", UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("version", "arch", "part"),
    )
    op.create_table(
        "site",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("user", sa.String(), nullable=False),
        sa.Column("jump_address", sa.String(), nullable=True),
        sa.Column("jump_port", sa.Integer(), nullable=True),
        sa.Column("jump_user", sa.String(), nullable=True),
        sa.Column("jump_host_key", sa.String(), nullable=True),
        sa.Column("host_key", sa.String(), nullable=True),
        sa.Column("host_key_fingerprint", sa.String(), nullable=True),
        sa.Column("host_key_seen", sa.String(), nullable=True),
        sa.Column("host_key_seen_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("trust", sa.String(), nullable=False),
        sa.Column("public_key", sa.String(), nullable=True),
        sa.Column("key_installed", sa.Boolean(), nullable=False),
        sa.Column("profile", sa.String(), nullable=True),
        sa.Column("arch", sa.String(), nullable=True),
        sa.Column("timezone", sa.String(), nullable=True),
        sa.Column("latitude", sa.Float(), nullable=True),
        sa.Column("longitude", sa.Float(), nullable=True),
        sa.Column("notes", sa.Text(), nullable=True),
        sa.Column("k3s_version", sa.String(), nullable=True),
        sa.Column("created_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("updated_at", UtcDateTime(timezone=True), nullable=False),
        sa.CheckConstraint("trust IN ('unknown','seen','pinned','mismatch')", name="site_trust"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    with op.batch_alter_table("site", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_site_host_key_fingerprint"), ["host_key_fingerprint"], unique=False)
        batch_op.create_index("site_address", ["address", "port"], unique=False)

    op.create_table(
        "site_group",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("selector", sa.String(), nullable=False),
        sa.Column("trust_first_use_until", UtcDateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "worker",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("boot_id", sa.String(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("pid_started", sa.Integer(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("started_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("heartbeat_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("stopped_at", UtcDateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "cluster",
        sa.Column("site_id", sa.Integer(), nullable=False),
        sa.Column("reachability", sa.String(), nullable=False),
        sa.Column("reachability_reason", sa.String(), nullable=False),
        sa.Column("tried_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("contact_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("health", sa.String(), nullable=False),
        sa.Column("health_reason", sa.Text(), nullable=False),
        sa.Column("observed_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("k3s_version", sa.String(), nullable=True),
        sa.Column("node_name", sa.String(), nullable=True),
        sa.Column("arch", sa.String(), nullable=True),
        sa.Column("os", sa.String(), nullable=True),
        sa.Column("cluster_id", sa.String(), nullable=True),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("site_id"),
    )
    with op.batch_alter_table("cluster", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_cluster_health"), ["health"], unique=False)
        batch_op.create_index(batch_op.f("ix_cluster_k3s_version"), ["k3s_version"], unique=False)
        batch_op.create_index(batch_op.f("ix_cluster_observed_at"), ["observed_at"], unique=False)

    op.create_table(
        "operation",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("site_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("is_head", sa.Boolean(), nullable=False),
        sa.Column("params", sa.JSON(), nullable=False),
        sa.Column("batch_key", sa.String(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("request", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("created_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("not_before", UtcDateTime(timezone=True), nullable=False),
        sa.Column("deadline_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("finished_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("spent", sa.Integer(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("lost", sa.Integer(), nullable=False),
        sa.Column("max_lost", sa.Integer(), nullable=False),
        sa.Column("unreached", sa.Integer(), nullable=False),
        sa.Column("waiting_for", sa.String(), nullable=False),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("hint", sa.Text(), nullable=False),
        sa.CheckConstraint("NOT is_head OR state IN ('queued','running')", name="operation_head_is_open"),
        sa.CheckConstraint("state <> 'running' OR is_head", name="operation_running_is_head"),
        sa.CheckConstraint(
            "state IN ('queued','running','succeeded','failed','canceled','expired')", name="operation_state"
        ),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("operation", schema=None) as batch_op:
        batch_op.create_index(
            "operation_deadline",
            ["deadline_at"],
            unique=False,
            sqlite_where=sa.text("state = 'queued'"),
            postgresql_where=sa.text("state = 'queued'"),
        )
        batch_op.create_index(
            "operation_due",
            ["is_head", "state", "not_before"],
            unique=False,
            sqlite_where=sa.text("is_head = 1"),
            postgresql_where=sa.text("is_head"),
        )
        batch_op.create_index(
            "operation_one_head",
            ["site_id"],
            unique=True,
            sqlite_where=sa.text("is_head = 1"),
            postgresql_where=sa.text("is_head"),
        )
        batch_op.create_index(
            "operation_one_queued_per_kind",
            ["site_id", "kind"],
            unique=True,
            sqlite_where=sa.text("state = 'queued'"),
            postgresql_where=sa.text("state = 'queued'"),
        )
        batch_op.create_index("operation_request", ["request", "state"], unique=False)
        batch_op.create_index("operation_site", ["site_id", "id"], unique=False)
        batch_op.create_index("operation_state_id", ["state", "id"], unique=False)

    op.create_table(
        "secret",
        sa.Column("site_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("wrapped_key", sa.LargeBinary(), nullable=False),
        sa.Column("nonce", sa.LargeBinary(), nullable=False),
        sa.Column("ciphertext", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("site_id", "name"),
    )
    op.create_table(
        "site_label",
        sa.Column("site_id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("value", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("site_id", "key"),
    )
    with op.batch_alter_table("site_label", schema=None) as batch_op:
        batch_op.create_index("site_label_key_value", ["key", "value", "site_id"], unique=False)

    op.create_table(
        "attempt",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("operation_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("worker_id", sa.String(), nullable=False),
        sa.Column("batch", sa.String(), nullable=False),
        sa.Column("started_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("lease_until", UtcDateTime(timezone=True), nullable=False),
        sa.Column("finished_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.String(), nullable=True),
        sa.Column("changed", sa.Boolean(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("hint", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "outcome IN ('succeeded','failed','refused','unreachable','timed_out','canceled','lost')",
            name="attempt_outcome",
        ),
        sa.ForeignKeyConstraint(["operation_id"], ["operation.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("attempt", schema=None) as batch_op:
        batch_op.create_index(
            "attempt_lease",
            ["lease_until"],
            unique=False,
            sqlite_where=sa.text("outcome IS NULL"),
            postgresql_where=sa.text("outcome IS NULL"),
        )
        batch_op.create_index(
            "attempt_one_unsettled",
            ["operation_id"],
            unique=True,
            sqlite_where=sa.text("outcome IS NULL"),
            postgresql_where=sa.text("outcome IS NULL"),
        )
        batch_op.create_index("attempt_operation_number", ["operation_id", "number"], unique=True)

    schema.renumber_attempts(op.get_bind())


def downgrade() -> None:
    with op.batch_alter_table("attempt", schema=None) as batch_op:
        batch_op.drop_index("attempt_operation_number")
        batch_op.drop_index(
            "attempt_one_unsettled",
            sqlite_where=sa.text("outcome IS NULL"),
            postgresql_where=sa.text("outcome IS NULL"),
        )
        batch_op.drop_index(
            "attempt_lease", sqlite_where=sa.text("outcome IS NULL"), postgresql_where=sa.text("outcome IS NULL")
        )

    op.drop_table("attempt")
    with op.batch_alter_table("site_label", schema=None) as batch_op:
        batch_op.drop_index("site_label_key_value")

    op.drop_table("site_label")
    op.drop_table("secret")
    with op.batch_alter_table("operation", schema=None) as batch_op:
        batch_op.drop_index("operation_state_id")
        batch_op.drop_index("operation_site")
        batch_op.drop_index("operation_request")
        batch_op.drop_index(
            "operation_one_queued_per_kind",
            sqlite_where=sa.text("state = 'queued'"),
            postgresql_where=sa.text("state = 'queued'"),
        )
        batch_op.drop_index(
            "operation_one_head", sqlite_where=sa.text("is_head = 1"), postgresql_where=sa.text("is_head")
        )
        batch_op.drop_index("operation_due", sqlite_where=sa.text("is_head = 1"), postgresql_where=sa.text("is_head"))
        batch_op.drop_index(
            "operation_deadline", sqlite_where=sa.text("state = 'queued'"), postgresql_where=sa.text("state = 'queued'")
        )

    op.drop_table("operation")
    with op.batch_alter_table("cluster", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_cluster_observed_at"))
        batch_op.drop_index(batch_op.f("ix_cluster_k3s_version"))
        batch_op.drop_index(batch_op.f("ix_cluster_health"))

    op.drop_table("cluster")
    op.drop_table("worker")
    op.drop_table("site_group")
    with op.batch_alter_table("site", schema=None) as batch_op:
        batch_op.drop_index("site_address")
        batch_op.drop_index(batch_op.f("ix_site_host_key_fingerprint"))

    op.drop_table("site")
    op.drop_table("release_file")
    with op.batch_alter_table("event", schema=None) as batch_op:
        batch_op.drop_index("event_site")
        batch_op.drop_index("event_operation")

    op.drop_table("event")
