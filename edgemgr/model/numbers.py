"""Numbers that only ever grow, wide enough for years of a large fleet in both databases."""

from __future__ import annotations

from sqlalchemy import BigInteger, Integer

#: SQLite numbers rows by itself in columns declared INTEGER only; those have 64 bits there anyway.
GrowingNumber = BigInteger().with_variant(Integer(), "sqlite")
