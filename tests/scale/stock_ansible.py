"""The ways that a user has without edgemgr: ansible-runner as it comes, on sites of the lab."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from consumption import Account

from edgemgr.lab.lab import Lab
from edgemgr.lab.simulated_site import SimulatedSite
from edgemgr.settings import program_environment

TIMEOUT_S = 3600
_PROGRAM = Path(__file__).with_name("stock_runner.py")


class StockAnsible:
    """Sites that one key opens, and runs against them. Host keys are checked, as everywhere."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        self._lab = lab
        self._directory = directory
        self._key = directory / "key"
        self._known_hosts = directory / "known_hosts"
        self._home = directory / "home"
        self._runs = 0

    def open(self, sites: Iterable[SimulatedSite]) -> None:
        """Let the key in, past SSH: how it came there is not what is measured."""
        self._home.mkdir(parents=True)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self._key)], check=True, timeout=30)
        public = self._key.with_suffix(".pub").read_text()
        chosen = list(sites)
        self._known_hosts.write_text("".join(f"{site.address} {site.host_key}\n" for site in chosen))

        def let_in(site: SimulatedSite) -> None:
            home = f"/home/{site.user}/.ssh"
            script = (
                f"install -d -m 700 -o {site.user} -g {site.user} {home} && cat >>{home}/authorized_keys && "
                f"chown {site.user}: {home}/authorized_keys && chmod 600 {home}/authorized_keys"
            )
            done = self._lab.run(site.name, ["sh", "-c", script], input_text=public)
            assert done.returncode == 0, done.stderr

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(let_in, chosen))

    def run(
        self,
        account: Account,
        groups: Sequence[Sequence[SimulatedSite]],
        playbook: Path,
        variables: Mapping[str, Mapping[str, Any]],
        *,
        at_once: int,
        forks: int | None = None,
        settings: Mapping[str, str],
    ) -> float:
        """One ansible-runner for each group, so many at once; returns the host-tasks of one site.

        `variables` are the host variables of each site by its name, `settings` the environment of every run.
        """
        self._runs += 1
        directories = [self._prepare(number, group, variables, settings) for number, group in enumerate(groups)]
        plan = {"playbook": str(playbook), "directories": directories, "at_once": at_once, "forks": forks}
        with account.inside():
            process = subprocess.Popen(
                [sys.executable, str(_PROGRAM)],
                env={**program_environment(), "ANSIBLE_HOME": str(self._home)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        try:
            output, faults = process.communicate(json.dumps(plan), timeout=TIMEOUT_S)
        except BaseException:
            process.kill()
            process.wait(timeout=10)
            raise
        assert process.returncode == 0, faults
        endings = json.loads(output)
        bad = [directory for directory, end in zip(directories, endings, strict=True) if end["status"] != "successful"]
        assert not bad, f"{len(bad)} of {len(groups)} runs failed, the first one:\n{_last_words(Path(bad[0]))}"
        tasks: int = sum(end["host_tasks"] for end in endings)
        return tasks / sum(map(len, groups))

    def _prepare(
        self,
        number: int,
        group: Sequence[SimulatedSite],
        variables: Mapping[str, Mapping[str, Any]],
        settings: Mapping[str, str],
    ) -> str:
        directory = self._directory / f"run{self._runs}" / str(number)
        (directory / "inventory").mkdir(parents=True)
        (directory / "env").mkdir()
        hosts = {
            site.name: {
                "ansible_host": site.address,
                "ansible_port": site.port,
                "ansible_user": site.user,
                "ansible_ssh_private_key_file": str(self._key),
                "ansible_ssh_common_args": f"-o UserKnownHostsFile={self._known_hosts}",
                **variables[site.name],
            }
            for site in group
        }
        (directory / "inventory/hosts.json").write_text(json.dumps({"sites": {"hosts": hosts}}))
        # ansible-runner switches the check of host keys off unless told otherwise.
        environment = {"ANSIBLE_HOST_KEY_CHECKING": "True", "ANSIBLE_NOCOLOR": "1", **settings}
        (directory / "env/envvars").write_text(json.dumps(environment))
        return str(directory)


def _last_words(directory: Path) -> str:
    output = next(directory.glob("artifacts/*/stdout"), None)
    return "\n".join(output.read_text(errors="replace").splitlines()[-40:]) if output else "(it said nothing)"
