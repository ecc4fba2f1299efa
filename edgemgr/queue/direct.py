"""Kinds without a playbook: kind → the function that carries it over a connection of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from edgemgr.errors import BundleError, EdgemgrError, Retry
from edgemgr.inventory.access import note_mismatch
from edgemgr.links.kube import observe
from edgemgr.links.ssh import HostKeyMismatchError
from edgemgr.model.attempt import AttemptResult, Outcome
from edgemgr.model.operation import OperationKind
from edgemgr.queue.errand import Errand
from edgemgr.queue.fault import internal_fault, result_of
from edgemgr.queue.pulling import pull
from edgemgr.queue.staging import stage

logger = logging.getLogger(__name__)


def probe(errand: Errand) -> AttemptResult:
    """Look at a site through SSH and the Kubernetes API."""
    observation = observe(errand.target, timeout_s=errand.settings.connect_timeout_s)
    return AttemptResult(Outcome.SUCCEEDED, observation=observation)


DIRECT: Mapping[OperationKind, Callable[[Errand], AttemptResult]] = {
    OperationKind.PROBE: probe,
    OperationKind.PULL: pull,
    OperationKind.STAGE: stage,
}


def carry_out(errand: Errand) -> AttemptResult:
    """Run an errand to its end; whatever it raises becomes evidence."""
    kind = errand.claimed.operation.kind
    try:
        return DIRECT[OperationKind(kind)](errand)
    except HostKeyMismatchError as exc:
        note_mismatch(errand.database, errand.site_id, exc, actor="queue")
        return result_of(exc)
    except BundleError as exc:  # it cannot be given to this site, and nothing was changed there
        return AttemptResult(Outcome.REFUSED, code=exc.code, message=exc.message, hint=exc.hint, retry=Retry.NEVER)
    except EdgemgrError as exc:
        return result_of(exc)
    except Exception:
        logger.exception("%s: %s failed in an unforeseen way", errand.claimed.site_name, kind)
        return internal_fault(f"the {kind} failed in an unforeseen way")
