"""Limit: how many operations may run at once, in the whole appliance or in a part of it."""

from __future__ import annotations

from sqlmodel import Field, SQLModel


class QueueLimit(SQLModel, table=True):
    """At most `most` operations run at once within `scope`.

    A scope is `all`, `kind:KIND`, `label:KEY=VALUE`, or `label:KEY` for every value of that label by itself.
    """

    __tablename__ = "queue_limit"

    scope: str = Field(primary_key=True)
    most: int
