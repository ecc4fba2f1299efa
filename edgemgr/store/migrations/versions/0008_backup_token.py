"""Which server token a backup holds, by a number"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("backup", sa.Column("token", sa.BigInteger(), nullable=True))
