"""The queue at the size of a fleet: turns, limits, pauses, and leases that no wall clock decides"""

from typing import Any

import sqlalchemy as sa
from alembic import op

from edgemgr.model.timestamp import UtcDateTime

revision = "0002"
down_revision = "0001"

_TURN = "state = 'queued' AND waiting_for = 'turn'"
_MOMENT = "state = 'queued' AND waiting_for IN ('contact','backoff')"
_OPEN = "outcome IS NULL"


def _partial(condition: str, *, head: bool) -> dict[str, Any]:
    sqlite, postgresql = ("is_head = 1 AND ", "is_head AND ") if head else ("", "")
    return {"sqlite_where": sa.text(sqlite + condition), "postgresql_where": sa.text(postgresql + condition)}


def upgrade() -> None:
    op.create_table(
        "queue_limit",
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("most", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("scope"),
    )
    op.add_column("site", sa.Column("paused_at", UtcDateTime(timezone=True), nullable=True))
    op.add_column("site", sa.Column("paused_why", sa.String(), nullable=False, server_default=""))
    op.add_column("operation", sa.Column("turn", sa.BigInteger(), nullable=False, server_default="0"))
    op.drop_index("operation_due", "operation")
    op.create_index(
        "operation_ready",
        "operation",
        ["is_head", "state", "waiting_for", "priority", "turn", "id", "site_id", "kind"],
        **_partial(_TURN, head=True),
    )
    op.create_index(
        "operation_later",
        "operation",
        ["is_head", "state", "not_before", "waiting_for"],
        **_partial(_MOMENT, head=True),
    )
    op.create_index("operation_kind", "operation", ["kind", "id"])
    op.create_index("operation_finished", "operation", ["finished_at", "state", "id"])
    op.drop_index("operation_request", "operation")
    op.create_index("operation_request", "operation", ["request", "id", "state", "waiting_for"])
    op.drop_index("operation_site", "operation")
    op.create_index("operation_site", "operation", ["site_id", "id", "kind"])
    op.create_index("operation_actor", "operation", ["actor", "id"])
    op.create_index("operation_code", "operation", ["code", "id"], **_partial("code <> ''", head=False))
    op.create_index("operation_created", "operation", ["created_at", "id"])
    op.create_index(
        "operation_waiting", "operation", ["state", "waiting_for", "id"], **_partial("state = 'queued'", head=False)
    )
    op.create_index(
        "attempt_ended", "attempt", ["outcome", "operation_id"], **_partial("outcome IS NOT NULL", head=False)
    )
    op.drop_index("attempt_lease", "attempt")
    op.drop_column("attempt", "lease_until")
    op.create_index("attempt_held", "attempt", ["worker_id"], **_partial(_OPEN, head=False))
    op.add_column("worker", sa.Column("pid_namespace", sa.String(), nullable=False, server_default=""))
    op.add_column("worker", sa.Column("zones", sa.String(), nullable=False, server_default=""))
    op.add_column("worker", sa.Column("beats", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("worker", sa.Column("clock_jumps", sa.Integer(), nullable=False, server_default="0"))
