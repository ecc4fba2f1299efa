"""A long history in a database, made by the database itself: a million operations in a minute, the same each time.

Nine of ten operations are looks that the watch asked for. They are spread evenly over the sites and over ninety days.
`eve` asked for a handful; `E-RARE` is a code of a handful; the newest operations of every tenth site have not ended.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.engine import Connection

from edgemgr.store.database import Database

DAYS = 90

_SITES = """
INSERT INTO site (id, name, address, port, "user", trust, key_installed, created_at, updated_at, paused_why)
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :sites)
SELECT i, 'store-' || i, '192.0.2.' || i, 22, 'root', 'pinned', {false}, {first}, {first}, '' FROM n
"""
_LABELS = """
INSERT INTO site_label (site_id, key, value)
SELECT id, 'region', CASE id % 4 WHEN 0 THEN 'emea' WHEN 1 THEN 'apac' ELSE 'amer' END FROM site
"""
_RARE_LABELS = "INSERT INTO site_label (site_id, key, value) SELECT id, 'ring', 'canary' FROM site WHERE id % 1000 = 1"
_CLUSTERS = """
INSERT INTO cluster (site_id, reachability, reachability_reason, health, health_reason, facts)
SELECT id, 'reachable', '', CASE id % 50 WHEN 0 THEN 'failing' ELSE 'healthy' END, '', '{{}}' FROM site
"""
_COLUMNS = """site_id, kind, state, is_head, params, batch_key, priority, turn, request, actor, created_at, not_before,
deadline_at, finished_at, attempts, spent, max_attempts, lost, max_lost, unreached, waiting_for, cancel_requested,
code, message, hint"""
_KIND = """CASE WHEN i % 100 < 90 THEN 'probe' WHEN i % 100 < 95 THEN 'verify' WHEN i % 100 < 99 THEN 'bootstrap'
ELSE 'reset' END"""
_STATE = """CASE WHEN i * 37 % 1000 < 930 THEN 'succeeded' WHEN i * 37 % 1000 < 980 THEN 'failed'
WHEN i * 37 % 1000 < 995 THEN 'canceled' ELSE 'expired' END"""
_CODE = """CASE WHEN i * 37 % 1000 < 930 THEN ''
WHEN i * 37 % 1000 = 931 AND i % 50000 < 1000 THEN 'E-RARE'
WHEN i * 37 % 1000 < 960 THEN 'E-COMMON' ELSE 'E-USUAL' END"""
_ACTOR = "CASE WHEN i % 19997 = 0 THEN 'eve' WHEN i % 100 < 90 THEN 'watch' WHEN i % 2 = 0 THEN 'ada' ELSE 'ben' END"
_ENDED = f"""
INSERT INTO operation ({_COLUMNS})
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :operations)
SELECT (i % :sites + i / :sites * 37) % :sites + 1, {_KIND}, {_STATE}, {{false}}, '{{{{}}}}', 'k', 0, 0,
'r-' || (i / 200), {_ACTOR}, {{moment}}, {{moment}}, {{last}}, {{moment}}, 1, 0, 3, 0, 3, 0, '', {{false}}, {_CODE},
'as it was told by the site at that moment', '' FROM n
"""  # noqa: S608 - nothing in it comes from outside
_OPEN = f"""
INSERT INTO operation ({_COLUMNS})
SELECT site.id, kinds.kind, 'queued', {{head}}, '{{{{}}}}', 'k', 20, 0, 'r-open', 'ada', {{last}}, {{last}},
{{last}}, NULL, 1, 0, 3, 0, 3, 0,
CASE WHEN site.id % 3 = 0 THEN 'contact' WHEN site.id % 3 = 1 THEN 'turn' ELSE 'backoff' END,
{{false}}, 'E-LINK', 'timed out', '' FROM site
CROSS JOIN (SELECT 'verify' AS kind UNION ALL SELECT 'bootstrap') AS kinds WHERE site.id % :every = 0
"""  # noqa: S608 - the same
_ATTEMPTS = """
INSERT INTO attempt
(id, operation_id, number, worker_id, batch, started_at, finished_at, outcome, changed, code, message, hint)
SELECT id, id, 1, 'w', 'b', created_at, finished_at,
CASE WHEN id % 19001 = 0 THEN 'lost' WHEN state = 'expired' THEN 'unreachable' ELSE state END,
{false}, code, message, hint FROM operation WHERE finished_at IS NOT NULL
"""
_EVENTS = """
INSERT INTO event (at, type, reason, message, actor, site_id, site_name, operation_id)
SELECT created_at, 'normal', CASE WHEN state = 'succeeded' THEN 'OperationSucceeded' ELSE 'OperationFailed' END,
'verify, attempt 1: as it was told', 'queue', site_id, NULL, id FROM operation WHERE finished_at IS NOT NULL
"""


def fill(database: Database, *, operations: int, sites: int, last: datetime, open_every: int = 10) -> None:
    """Sites with a history of ended operations until `last`, and two open ones on every so many sites."""
    first = last - timedelta(days=DAYS)
    words = _words(database.dialect, first, last, operations)
    numbers = {"operations": operations, "sites": sites, "every": open_every}
    with database.write() as session:
        connection = session.connection()
        for statement in (_SITES, _LABELS, _RARE_LABELS, _CLUSTERS, _ENDED, _OPEN, _ATTEMPTS, _EVENTS):
            whole = statement.format(**words)
            connection.execute(text(whole), {name: value for name, value in numbers.items() if f":{name}" in whole})
        _count_on(connection, database.dialect)
    if database.dialect == "postgresql":  # it gathers its statistics by itself, some minutes later
        with database.write() as session:
            session.connection().execute(text("ANALYZE"))


def _words(dialect: str, first: datetime, last: datetime, operations: int) -> dict[str, str]:
    step = (last - first).total_seconds() / operations
    if dialect == "sqlite":
        form = "'%Y-%m-%d %H:%M:%f000'"
        return {
            "false": "0",
            "head": "kinds.kind = 'verify'",
            "first": f"strftime({form}, {first.timestamp()}, 'unixepoch')",
            "last": f"strftime({form}, {last.timestamp()}, 'unixepoch')",
            "moment": f"strftime({form}, {first.timestamp()} + i * {step}, 'unixepoch')",
        }
    return {
        "false": "false",
        "head": "kinds.kind = 'verify'",
        "first": f"to_timestamp({first.timestamp()})",
        "last": f"to_timestamp({last.timestamp()})",
        "moment": f"to_timestamp({first.timestamp()} + i * {step})",
    }


def _count_on(connection: Connection, dialect: str) -> None:
    """Rows with ids of our choice do not move PostgreSQL's sequences."""
    if dialect == "postgresql":
        for table in ("site", "attempt"):
            connection.execute(text(f"SELECT setval('{table}_id_seq', (SELECT max(id) FROM {table}))"))  # noqa: S608
