"""The queue as JSON: the document of `edgemgr queue status -o json`."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import Field
from pydantic.dataclasses import dataclass

from edgemgr.model.timestamp import utc_now
from edgemgr.store import queue_status
from edgemgr.store.queue_status import QueueStatus
from edgemgr.web.api.envelope import API_VERSION
from edgemgr.web.appliance import Appliance

router = APIRouter(tags=["queue"])


@dataclass(frozen=True, kw_only=True)
class QueueDocument(QueueStatus):
    """What runs, what waits and for what, the oldest first, and how fast it goes."""

    api_version: str = Field(API_VERSION, serialization_alias="apiVersion")
    kind: str = "QueueStatus"


@router.get("/queue", operation_id="getQueue")
def get_queue(appliance: Appliance) -> QueueDocument:
    """What runs, what waits and for what."""
    with appliance.database.read() as session:
        found = queue_status.queue_status(session, max_running=appliance.settings.max_running, now=utc_now())
    return QueueDocument(**vars(found))
