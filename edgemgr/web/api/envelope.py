"""What every JSON document begins with, as on the command line."""

from __future__ import annotations

from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

API_VERSION = "edgemgr/v1"
LIMIT_MAX = 1000
OFFSET_MAX = 2**31 - 1
ID_MAX = 2**63 - 1

T = TypeVar("T")


class Document(BaseModel):
    """One thing."""

    model_config = ConfigDict(populate_by_name=True)

    api_version: str = Field(API_VERSION, serialization_alias="apiVersion")
    kind: str


class Listing(Document, Generic[T]):
    """Some things of one kind; `total` counts those on other pages too."""

    items: list[T]
    total: int
