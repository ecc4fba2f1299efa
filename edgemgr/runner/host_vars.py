"""Host variables as Ansible's inventory reads them: data that is never taken for a template.

ansible-core reads `{"__ansible_unsafe": text}` in a JSON inventory as text that is not trusted as a template
(ansible/_internal/_json/_profiles/_legacy.py in 2.19). Keys are never templates, but a key of that family would
change what its value means.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgemgr.model.target import Target
from edgemgr.runner.ssh_files import TargetError

_RESERVED = "__ansible"


def host_vars(target: Target, variables: Mapping[str, object]) -> dict[str, object]:
    """All variables of one site: its own, and whether tasks need sudo there.

    Raises:
        TargetError: something in them is not plain data.
    """
    wrapped = {name: _wrap(value) for name, value in variables.items() if _is_ours(name)}
    return {**wrapped, "ansible_become": target.user != "root"}


def _is_ours(name: str) -> bool:
    """Ansible's own variables (`ansible_ssh_extra_args`, …) would be a way to a command line."""
    if not name.startswith("edge_"):
        raise TargetError(f"the variable {name!r} does not begin with edge_", hint="This is a fault in edgemgr.")
    return True


def _wrap(value: object) -> object:
    match value:
        case str():
            return {"__ansible_unsafe": value}
        case None | bool() | int() | float():
            return value
        case list() | tuple():
            return [_wrap(item) for item in value]
        case Mapping():
            for key in value:
                if not isinstance(key, str) or key.startswith(_RESERVED):
                    raise TargetError(f"the key {key!r} cannot be handed to Ansible", hint="Rename it.")
            return {key: _wrap(item) for key, item in value.items()}
        case _:
            raise TargetError(
                f"a {type(value).__name__} cannot be handed to Ansible", hint="This is a fault in edgemgr."
            )
