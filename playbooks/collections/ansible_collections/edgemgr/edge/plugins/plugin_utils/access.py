"""Is the node usable at all? Problems that keep every module from running, told from each other.

ansible-core reports them in forms of its own (2.19: a failed result without JSON from the module, or an exception);
here they become the same refusals as those of preflight. The forms were captured from real nodes, see
tests/playbooks/cases.
"""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase

PYTHON_HINT = "Install Python 3.8 or newer as /usr/bin/python3 (on Debian: `apt-get install python3`)."
SUDO_HINT = (
    "Give the user the right to become root without a password: `USER ALL=(ALL) NOPASSWD: ALL` in /etc/sudoers.d/."
)


def execute(action: ActionBase, module: str, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
    """Run a module of this collection; a node without Python or sudo gives a result with `edge_refusals`.

    Raises:
        AnsibleConnectionFailure: the node was not reached or the connection was lost.
    """
    try:
        result: dict[str, Any] = action._execute_module(  # noqa: SLF001  (the documented way for action plugins)
            module_name="edgemgr.edge." + module, module_args=arguments, task_vars=task_vars
        )
    except AnsibleConnectionFailure:
        raise
    except AnsibleError as exc:
        found = refusal_from_error(str(exc))
        if found is None:
            raise
        return refused(found)
    if "edge_code" in result or not result.get("failed"):
        return result
    found = refusal_from_output(
        f"{result.get('msg', '')}\n{result.get('module_stderr', '')}\n{result.get('module_stdout', '')}"
    )
    return refused(found) if found else result


def refused(refusal: dict[str, str]) -> dict[str, Any]:
    """The result of a task that was refused for one reason."""
    return {
        "failed": True,
        "changed": False,
        "msg": refusal["message"],
        "edge_code": refusal["code"],
        "edge_hint": refusal["hint"],
        "edge_retry": "never",
        "edge_checks": [{"check": refusal["check"], "verdict": "block", "detail": refusal["message"]}],
        "edge_refusals": [refusal],
    }


def refusal_from_error(text: str) -> dict[str, str] | None:
    """What an exception of ansible-core means for the node, if it is about becoming root."""
    for sign in ("Missing sudo password", "Incorrect sudo password"):
        if sign in text:
            return _sudo("the user may not become root on the node without a password")
    return None


def refusal_from_output(text: str) -> dict[str, str] | None:
    """What the output of a module that never ran means."""
    for signs, refusal in _SIGNS:
        if any(sign in text for sign in signs):
            return refusal
    return None


def _sudo(message: str, hint: str = SUDO_HINT) -> dict[str, str]:
    return {"code": "E-PRE-SUDO", "message": message, "hint": hint, "check": "sudo"}


def _python(message: str) -> dict[str, str]:
    return {"code": "E-PRE-PYTHON", "message": message, "hint": PYTHON_HINT, "check": "python"}


_SIGNS = (
    (
        ("sudo: not found", "sudo: command not found"),
        _sudo("there is no sudo on the node", "Install sudo on the node, or use root as the site's user."),
    ),
    (
        ("must have a tty to run sudo", "a terminal is required"),
        _sudo("sudo on the node insists on a terminal", "Remove `Defaults requiretty` from the node's sudoers."),
    ),
    (
        ("is not in the sudoers file", "is not allowed to execute", "a password is required"),
        _sudo("the user may not become root on the node without a password"),
    ),
    (("The module interpreter",), _python("there is no Python on the node")),
    (("requires a minimum of Python",), _python("the Python on the node is too old")),
    (("No module named",), _python("the Python on the node is not complete")),
)
