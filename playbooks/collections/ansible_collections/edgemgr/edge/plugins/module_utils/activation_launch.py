"""Put the activation program on the node, as one file, and start it so that it needs nobody any more."""

from __future__ import annotations

import ast
import importlib
import io
import os
import subprocess
import sys
import zipfile

from ansible_collections.edgemgr.edge.plugins.module_utils import (
    activation_main,
    activation_paths,
    activation_state,
    layout,
    service,
)
from ansible_collections.edgemgr.edge.plugins.module_utils.activation_plan import Plan
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import EdgeError
from ansible_collections.edgemgr.edge.plugins.module_utils.safe_files import (
    make_directory,
    read_or_none,
    remove,
    sync_directory,
    write_file,
)
from ansible_collections.edgemgr.edge.plugins.module_utils.wanted import WantedText

START_TIMEOUT_S = 60
PACKAGE = __name__.rpartition(".")[0]
_EPOCH = (1980, 1, 1, 0, 0, 0)  # of zip files; the same sources make the same file

#: What systemd does for the program: started again when it is killed, and when it hangs.
_RESTART = {"Restart": "on-failure", "RestartSec": "5s"}

BOOT_UNIT = """\
# Written by edgemgr. Finishes or undoes an upgrade of k3s that a reboot has cut off; without one it does nothing.
[Unit]
Description=edgemgr: finish or undo an upgrade of k3s
ConditionPathExists={plan}
After=local-fs.target
Before={unit}

[Service]
Type=simple
ExecStart={python} -I {program} resume
Restart=on-failure
RestartSec=5s
OOMScoreAdjust=-900

[Install]
WantedBy=multi-user.target
"""

GUARD = """\
# Written by edgemgr. While this file exists, neither the old nor the new state lies in k3s' place.
[Service]
ExecStartPre=/usr/bin/test ! -e {hold}
"""


def program() -> bytes:
    """The program and everything that it imports of this collection, as a file that Python runs."""
    sources = {activation_main.__name__: _source(activation_main.__name__)}
    waiting = list(sources)
    while waiting:
        for name in _imports(sources[waiting.pop()]):
            if name not in sources:
                sources[name] = _source(name)
                waiting.append(name)
    names = PACKAGE.split(".")
    files = {"/".join(names[:count]) + "/__init__.py": "" for count in range(1, len(names) + 1)}
    files.update({name.replace(".", "/") + ".py": text for name, text in sources.items()})
    files["__main__.py"] = f"import sys\n\nfrom {activation_main.__name__} import main\n\nsys.exit(main(sys.argv))\n"
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(files):
            archive.writestr(zipfile.ZipInfo(path, _EPOCH), files[path], zipfile.ZIP_DEFLATED)
    return content.getvalue()


def install() -> None:
    """Put program, boot service and guard in their places. No activation is under way."""
    content = program()
    if read_or_none(activation_paths.program()) != content:
        write_file(activation_paths.program(), content, 0o644)
    for path, text in (
        (activation_paths.boot_unit_file(), _boot_unit()),
        (activation_paths.guard_file(), GUARD.format(hold=activation_paths.hold())),
    ):
        wanted = WantedText(path, text, 0o644)
        if not wanted.is_there():
            wanted.place()
    service.systemctl("daemon-reload")
    service.systemctl("enable", activation_paths.BOOT_UNIT)


def write(plan: Plan) -> None:
    """Make this the plan at hand. The old one goes first: a plan without its journal would be carried out again."""
    directory = activation_paths.directory()
    make_directory(directory, 0o700)
    remove(activation_paths.plan())
    sync_directory(directory)
    notes = [directory + "/" + name for name in os.listdir(directory) if name.startswith("workloads-")]
    holds = activation_paths.hold(), activation_paths.lifted_hold()
    for path in (activation_paths.verdict(), activation_paths.journal(), *holds, *notes):
        remove(path)
    write_file(activation_paths.plan(), plan.text().encode() + b"\n", 0o600, 0o700)


def start(plan: Plan) -> None:
    """Start the program, detached from whoever asks for it.

    Raises:
        EdgeError: systemd refuses. Then the plan is withdrawn, unless it has begun.
    """
    # Longer than all its own time limits: a program that hangs is ended, and goes on from its journal.
    longest_s = sum(plan.deadline_s * 2 for _ in plan.hops)
    properties = dict(_RESTART, RuntimeMaxSec=f"{longest_s:.0f}", OOMScoreAdjust="-900")
    done = subprocess.run(
        ["systemd-run", f"--unit=edgemgr-upgrade-{plan.number}", "--collect", "--no-block", "--quiet"]
        + [f"--property={name}={value}" for name, value in properties.items()]
        + [sys.executable, "-I", activation_paths.program(), "run"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        timeout=START_TIMEOUT_S,
        check=False,
    )
    if done.returncode == 0:
        return
    activation_state.withdraw_unbegun()
    if activation_state.is_unfinished():
        return  # it runs already
    raise EdgeError(
        "E-UPGRADE-START",
        "systemd does not start the upgrade: {0}".format(done.stderr.strip()[:300]),
        "Nothing was changed; see `systemctl status` on the node, then try again.",
    )


def _boot_unit() -> str:
    return BOOT_UNIT.format(
        plan=activation_paths.plan(),
        unit=layout.UNIT,
        python=sys.executable,
        program=activation_paths.program(),
    )


def _source(name: str) -> str:
    """A module's text, whether it lies in a directory or in the archive that Ansible has sent."""
    loader = importlib.import_module(name).__loader__
    text: str = loader.get_source(name)  # type: ignore[union-attr]
    return text


def _imports(text: str) -> list[str]:
    """The modules of this package that a module imports, by the two forms that are used here."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module == PACKAGE:
            found += [f"{PACKAGE}.{each.name}" for each in node.names]
        elif isinstance(node, ast.ImportFrom) and str(node.module).startswith(PACKAGE + "."):
            found.append(str(node.module))
    return sorted(set(found))
