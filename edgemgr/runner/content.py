"""Where the playbooks lie: inside the installed package, or beside it in the source tree."""

from __future__ import annotations

from pathlib import Path

import edgemgr
from edgemgr.errors import Retry, RunnerError

_PACKAGE = Path(edgemgr.__file__).parent
_PLACES = (_PACKAGE / "_playbooks", _PACKAGE.parent / "playbooks")


class ContentError(RunnerError):
    """The playbooks are not there, or not whole: nothing that a repeat could mend."""

    code = "E-RUNNER-CONTENT"
    retry = Retry.NEVER
    default_hint = "The installation is not whole: install edgemgr again."


def playbook_dir() -> Path:
    """The directory with the playbooks, `ansible.cfg` and the collection.

    Raises:
        ContentError: neither place has one.
    """
    for place in _PLACES:
        if (place / "ansible.cfg").is_file():
            return place
    raise ContentError(f"no playbooks in {' nor in '.join(map(str, _PLACES))}")


def playbook(directory: Path, kind: str) -> Path:
    """The playbook of a kind of operation.

    Raises:
        ContentError: it is not there.
    """
    path = directory / f"{kind}.yml"
    if not kind.replace("-", "_").isidentifier() or not path.is_file():
        raise ContentError(f"there is no playbook {path}")
    return path
