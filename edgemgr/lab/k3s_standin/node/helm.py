"""The Helm controller: a chart is installed by a batch task, and is there when the task is complete.

Only the packaged chart brings objects; the task of any other chart completes and installs nothing.
"""

from __future__ import annotations

from .built import VERSION
from .kinds import HELMCHARTS, JOBS
from .manifests import apply_object
from .packaged import chart_objects, helm_job

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .resources import Resources


def step(resources: Resources) -> None:
    """Start the tasks that are missing or of an older release, and install what complete ones stand for."""
    store = resources.store
    for chart in store.under(HELMCHARTS.prefix()):
        name, namespace = chart["metadata"]["name"], chart["metadata"]["namespace"]
        job = helm_job(name, namespace, VERSION)
        key = JOBS.name_of(namespace, job["metadata"]["name"])
        old = store.get(key)
        if old is not None and _image(old) != _image(job):
            store.delete(key)
            old = None
        if old is None:
            apply_object(resources, job)
        elif old.get("status", {}).get("succeeded"):
            for value in chart_objects(VERSION).get(name, []):
                apply_object(resources, value)


def _image(job: dict[str, object]) -> object:
    spec: object = job["spec"]
    return spec["template"]["spec"]["containers"][0]["image"]  # type: ignore[index]
