"""kind → spec: the one list of what can be asked of a site."""

from __future__ import annotations

from edgemgr.model.operation import OperationKind
from edgemgr.operations.backup import Backup
from edgemgr.operations.bootstrap import Bootstrap
from edgemgr.operations.probe import Probe
from edgemgr.operations.pull import Pull
from edgemgr.operations.reset import Reset
from edgemgr.operations.restore import Restore
from edgemgr.operations.rotate_certificates import RotateCertificates
from edgemgr.operations.rotate_token import RotateToken
from edgemgr.operations.spec import OperationSpec
from edgemgr.operations.stage import Stage
from edgemgr.operations.tidy import Tidy
from edgemgr.operations.upgrade import Upgrade
from edgemgr.operations.verify import Verify

SPECS: dict[OperationKind, OperationSpec] = {
    spec.kind: spec
    for spec in (
        Probe(),
        Bootstrap(),
        Verify(),
        Reset(),
        Stage(),
        Upgrade(),
        Backup(),
        Pull(),
        Restore(),
        RotateCertificates(),
        RotateToken(),
        Tidy(),
    )
}


def spec_of(kind: str) -> OperationSpec:
    """The description of a kind that is known to exist."""
    return SPECS[OperationKind(kind)]
