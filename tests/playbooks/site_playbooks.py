"""Plays the playbooks against one simulated site, as the runner does, and keeps what each task said."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgemgr.lab.lab import Lab

PLAYBOOKS = Path(__file__).parent.parent.parent / "playbooks"
_RUN = """
import json, sys
import ansible_runner

def keep(event):
    if event["event"] in ("runner_on_ok", "runner_on_failed", "runner_on_unreachable"):
        data = event["event_data"]
        print(json.dumps({"event": event["event"], "role": data.get("resolved_role"), "res": data["res"]}), flush=True)
    return False

ansible_runner.run(quiet=True, event_handler=keep, **json.loads(sys.argv[1]))
"""


@dataclass(frozen=True)
class Task:
    """What one task said."""

    event: str
    role: str
    result: dict[str, Any]

    @property
    def code(self) -> str:
        return str(self.result.get("edge_code", ""))


def release_artifacts(directory: Path, arch: str = "amd64") -> list[dict[str, Any]]:
    """The variable `edge_artifacts` for a release directory of one architecture."""
    parts = {"k3s": "binary", f"k3s-airgap-images-{arch}.tar.gz": "images"}
    found = []
    for name, part in parts.items():
        content = (directory / name).read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        size_bytes, path = len(content), str(directory / name)
        found.append(
            {"part": part, "arch": arch, "name": name, "digest": digest, "size_bytes": size_bytes, "path": path}
        )
    return found


class SitePlaybooks:
    """The playbooks for one site of a lab. Every play is a new, higher attempt unless it is told otherwise."""

    def __init__(self, lab: Lab, name: str, work: Path) -> None:
        self.lab, self.name, self._work = lab, name, work
        self._attempt = 0
        key = work / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True, timeout=30)
        site = lab.site(name)
        script = (
            f"install -d -m 700 -o {site.user} -g {site.user} ~{site.user}/.ssh\n"
            f"cat >~{site.user}/.ssh/authorized_keys\nchown {site.user}: ~{site.user}/.ssh/authorized_keys\n"
        )
        self.shell(script, key.with_suffix(".pub").read_text())
        (work / "known_hosts").write_text(f"{site.address} {site.host_key}\n")

    def shell(self, script: str, input_text: str | None = None) -> str:
        """Run a script as root on the site, past Ansible; it has to succeed."""
        done = self.lab.run(self.name, ["sh", "-euc", script], input_text=input_text)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def play(self, kind: str, *, check: bool = False, **variables: Any) -> list[Task]:
        """Play to the end; what the tasks said, in order."""
        process = self.start(kind, check=check, **variables)
        output, _ = process.communicate(timeout=240)
        tasks = [json.loads(line) for line in output.splitlines()]
        assert tasks, "no task said anything"
        return [Task(each["event"], each["role"], each["res"]) for each in tasks]

    def start(self, kind: str, *, check: bool = False, **variables: Any) -> subprocess.Popen[str]:
        """Begin to play, in a process group of its own."""
        self._attempt += 1
        site = self.lab.site(self.name)
        ours = {"edge_site": self.name, "edge_attempt": self._attempt, "edge_verify_timeout_s": 60, **variables}
        place = self._work / f"play-{self._attempt}"
        place.mkdir()
        connection = {
            "ansible_host": site.address,
            "ansible_user": site.user,
            "ansible_ssh_private_key_file": str(self._work / "key"),
            "ansible_ssh_common_args": f"-o UserKnownHostsFile={self._work}/known_hosts",
        }
        hosts = {self.name: {**connection, **_unsafe(ours)}}
        inventory = place / "inventory.json"
        inventory.write_text(json.dumps({"sites": {"hosts": hosts}}))
        arguments = {
            "private_data_dir": str(place),
            "playbook": str(PLAYBOOKS / f"{kind}.yml"),
            "inventory": str(inventory),
            "cmdline": "--check --diff" if check else "",
            "envvars": {
                "ANSIBLE_CONFIG": str(PLAYBOOKS / "ansible.cfg"),
                "ANSIBLE_HOST_KEY_CHECKING": "True",
                "ANSIBLE_HOME": str(place / "home"),
                "ANSIBLE_SSH_CONTROL_PATH_DIR": str(place / "c"),
            },
        }
        return subprocess.Popen(
            [sys.executable, "-c", _RUN, json.dumps(arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        )

    def close(self) -> None:
        """End the connections that ssh keeps open for the next task."""
        for socket in self._work.glob("play-*/c/*"):
            subprocess.run(
                ["ssh", "-o", f"ControlPath={socket}", "-O", "exit", self.name],
                stderr=subprocess.DEVNULL,
                timeout=30,
                check=False,
            )

    def snapshot(self) -> str:
        """Everything on the site's disk that a refusal must leave alone: a hash for each file."""
        return self.shell(
            "find /etc /usr/local /var/lib /opt -xdev \\( -path /var/lib/systemd -o -path /var/lib/private \\) -prune "
            "-o \\( -type f -o -type l \\) -printf '%p %s %m %l\\n' | sort"
        )


def _unsafe(value: Any) -> Any:
    match value:
        case str():
            return {"__ansible_unsafe": value}
        case list():
            return [_unsafe(each) for each in value]
        case dict():
            return {key: _unsafe(each) for key, each in value.items()}
        case _:
            return value
