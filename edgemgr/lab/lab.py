"""The lab: a folder of simulated sites, and everything that can be done to them."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from edgemgr.errors import LabError, NotFoundError
from edgemgr.lab import full_flavour, light_flavour, power, processes, record
from edgemgr.lab.base_tree import USER, ensure_base, remove_base
from edgemgr.lab.cgroups import unmount_ours
from edgemgr.lab.network import (
    SiteNetwork,
    create_network,
    cut_link,
    delete_network,
    mend_link,
    refuse_taken_addresses,
    site_network,
)
from edgemgr.lab.programs import require_programs, require_root
from edgemgr.lab.relay import degrade_link
from edgemgr.lab.simulated_site import Flavour, LinkState, SimulatedSite, SiteState
from edgemgr.lab.site_files import SiteFiles, create_site_files
from edgemgr.lab.sites_csv import sites_csv
from edgemgr.settings import program_environment

DEFAULT_SUBNET = "10.200.0.0/16"
SSH_PORT = 22
BOOTING_AT_ONCE = 8
LOCK_WAIT_S = 300.0
REBOOT_TIMEOUT_S = 60.0


class Lab:
    """Simulated sites on this machine, kept in one folder. Sites outlive this process.

    Clocks cannot be shifted: namespaces share the machine's clock.

    Args:
        directory: where the lab lies; labs in different folders stand side by side.
        subnet: IPv4 network that the sites' links are cut from, a /30 each; of no two labs the same.
        base: the base tree; another lab's may be shared. Default: `base` in the folder.
        progress: is told what is being done.
    """

    def __init__(
        self,
        directory: Path,
        *,
        subnet: str = DEFAULT_SUBNET,
        base: Path | None = None,
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.directory = directory.resolve()
        self.base = (base or self.directory / "base").resolve()
        self.subnet = subnet
        self.progress = progress
        self._record = self.directory / "lab.json"
        self._sites: dict[str, SimulatedSite] = {}
        self._guard = threading.Lock()
        self._give_up = threading.Event()
        for path in (self.directory, self.base):
            if any(character in str(path) for character in ":,\\ \n"):
                raise LabError(
                    f"overlay mounts cannot name {str(path)!r}",
                    hint="Use a folder without blanks, colons and commas.",
                    code="E-LAB-DIRECTORY",
                )

    @property
    def csv_path(self) -> Path:
        """The CSV of all sites."""
        return self.directory / "sites.csv"

    @property
    def release_directory(self) -> Path:
        """Where the lab offers k3s release files."""
        return self.directory / "release"

    def list(self) -> Sequence[SimulatedSite]:
        """Return all sites as they are now."""
        return list(record.read_sites(self._record).values())

    def site(self, name: str) -> SimulatedSite:
        """Return one site as it is now.

        Raises:
            NotFoundError: E-LAB-SITE, the lab has no such site.
        """
        return record.as_it_is(_named(name, record.remembered(self._record)))

    def console(self, name: str) -> Path:
        """Return the file with what the site wrote while it booted."""
        return self._files(self.site(name)).console

    def up(self, sites: int, *, light: bool = False, disk_mib: int | None = None) -> Sequence[SimulatedSite]:
        """Have at least `site-1` to `site-N` running; those that run are left alone. All answer to SSH on return.

        Args:
            sites: N.
            light: flavour of the sites that are made now.
            disk_mib: size of the file system under /var/lib of the sites that are made now, in MiB.

        Raises:
            LabError: a site could not be made or did not boot; the others are up.
        """
        flavour = Flavour.LIGHT if light else Flavour.FULL
        with self._changing():
            require_programs(*(light_flavour if light else full_flavour).PROGRAMS)
            wanted = [f"site-{number}" for number in range(1, sites + 1)]
            new = [name for name in wanted if name not in self._sites]
            nets = {number: site_network(self.directory, self.subnet, number) for number in range(1, sites + 1)}
            refuse_taken_addresses(list(nets.values()))
            ensure_base(self.base, self.progress)
            try:
                self._each(new, "made", lambda name: self._make(name, flavour, disk_mib))
                dark = [name for name in wanted if self._sites[name].state is SiteState.OFF]
                self._each(dark, "booted", self._revive)
            except KeyboardInterrupt:
                for name in new:
                    self._remove(name)
                raise
            finally:
                self._write_csv()
            return [self._sites[name] for name in wanted]

    def down(self, *names: str, purge: bool = False) -> None:
        """End sites and remove all that is theirs; without names all of them. Repeatable.

        Args:
            names: of the sites.
            purge: remove the whole folder as well, with the base tree.

        Raises:
            NotFoundError: E-LAB-SITE.
            LabError: E-LAB-STUCK, a process does not end; E-LAB-BASE-IN-USE.
        """
        if not self.directory.exists():
            return
        with self._changing():
            chosen = [_named(name, self._sites).name for name in names] or list(self._sites)
            self._each(chosen, "removed", self._remove)
            self._write_csv()
            if not self._sites:
                unmount_ours()
            if purge and not self._sites:
                if self.base.is_relative_to(self.directory):
                    remove_base(self.base)
                shutil.rmtree(self.directory)

    def cut(self, name: str) -> None:
        """Let every packet from and to the site vanish, until it is restored. Ends a degraded link as well."""
        with self._changing():
            self._cut(_named(name, self._sites))

    def degrade(self, name: str, *, delay_ms: float, loss_percent: float, rate_mbit: float) -> None:
        """Make the site's link bad: delay, loss and rate hold for each direction.

        Raises:
            LabError: E-LAB-LINK, values out of range, or the link is cut.
        """
        with self._changing():
            site = _named(name, self._sites)
            if site.link is LinkState.CUT:
                raise LabError(
                    f"the link of {name} is cut", hint=f"First `edgemgr lab restore {name}`.", code="E-LAB-LINK"
                )
            self._end_relay(site)
            log = self._files(site).folder / "relay.log"
            relay = degrade_link(
                self._net(site), log, delay_ms=delay_ms, loss_percent=loss_percent, rate_mbit=rate_mbit
            )
            self._keep(replace(site, link=LinkState.DEGRADED, relay=relay))

    def restore(self, name: str) -> None:
        """Undo `cut`, `degrade` and `power_cut`: the link is good and the site runs.

        Raises:
            LabError: E-LAB-BOOT.
        """
        with self._changing():
            site = _named(name, self._sites)
            if site.state is SiteState.OFF:
                self._revive(name)
            else:
                self._mend(site)

    def power_cut(self, name: str) -> None:
        """Kill the site between two instructions, and let its address fall silent.

        What it has written stays; what it had not synced does too, as this machine's memory is not lost.
        """
        with self._changing():
            self._cut(_named(name, self._sites))
            site = self._sites[name]
            power.end(site, self._net(site))
            self._keep(replace(site, process=None, state=SiteState.OFF))

    def reboot(self, name: str) -> None:
        """Reboot the site in an orderly way, and wait until it answers again; not when its link is cut.

        Raises:
            LabError: E-LAB-OFF, it does not run; E-LAB-BOOT.
        """
        with self._changing():
            site = _named(name, self._sites)
            if site.flavour is Flavour.LIGHT:
                power.end(site, self._net(site))
                self._boot(name)
                return
            before = self._leader(site)
            self._enter(site, ["systemctl", "reboot"], None, REBOOT_TIMEOUT_S)
            deadline = time.monotonic() + REBOOT_TIMEOUT_S
            while power.leader(site) in (before, None):
                if time.monotonic() > deadline or not processes.is_alive(site.process):
                    raise LabError(f"{name} did not reboot", code="E-LAB-BOOT")
                time.sleep(0.05)
            if site.link is not LinkState.CUT:
                power.wait_until_booted(site, self._files(site), self._give_up)

    def run(
        self, name: str, command: Sequence[str], *, input_text: str | None = None, timeout_s: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as root inside the site, past its SSH and its link; its exit status is not judged.

        Raises:
            LabError: E-LAB-OFF, the site does not run; E-LAB-RUN, the command did not end in time.
        """
        return self._enter(self.site(name), command, input_text, timeout_s)

    def _enter(
        self, site: SimulatedSite, command: Sequence[str], input_text: str | None, timeout_s: float
    ) -> subprocess.CompletedProcess[str]:
        entering = ["nsenter", f"--target={self._leader(site)}", "--mount", "--uts", "--ipc", "--net", "--pid"]
        try:
            return subprocess.run(
                [*entering, "--cgroup", "--root", "--wd", *command],
                input=input_text,
                stdin=None if input_text is not None else subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
                env=program_environment() | {"HOME": "/root"},
            )
        except subprocess.TimeoutExpired as exc:
            raise LabError(
                f"`{command[0]}` in {site.name} did not end within {timeout_s:g} s", code="E-LAB-RUN"
            ) from exc

    def _leader(self, site: SimulatedSite) -> int:
        pid = power.leader(site)
        if pid is None:
            raise LabError(
                f"{site.name} does not run", hint=f"`edgemgr lab restore {site.name}` boots it.", code="E-LAB-OFF"
            )
        return pid

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Be the only one who changes this lab."""
        require_root()
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o700)
        with record.exclusive(self.directory / "lab.lock", within_s=LOCK_WAIT_S):
            self._give_up.clear()
            self._sites = record.read_sites(self._record)
            yield

    def _each(self, names: Sequence[str], done: str, act: Callable[[str], None]) -> None:
        """Do something to several sites at once; all are tried, the first fault is raised afterwards."""
        faults = []
        with ThreadPoolExecutor(BOOTING_AT_ONCE) as pool:
            tasks = [pool.submit(act, name) for name in names]
            try:
                for count, task in enumerate(as_completed(tasks), start=1):
                    fault = task.exception()
                    if isinstance(fault, LabError):
                        faults.append(fault)
                    else:
                        task.result()
                    self.progress(f"sites {done}: {count} of {len(names)}")
            except BaseException:
                self._give_up.set()
                pool.shutdown(cancel_futures=True)
                raise
        if faults:
            raise faults[0]

    def _make(self, name: str, flavour: Flavour, disk_mib: int | None) -> None:
        number = int(name.removeprefix("site-"))
        net = site_network(self.directory, self.subnet, number)
        files = SiteFiles(self.directory / "sites" / name)
        identity = create_site_files(files, base=self.base, hostname=name, disk_mib=disk_mib)
        if flavour is Flavour.LIGHT:
            light_flavour.install_stand_in(files)
        self._keep(
            SimulatedSite(
                name=name,
                number=number,
                flavour=flavour,
                address=net.address,
                gateway=net.gateway,
                port=SSH_PORT,
                user=USER,
                password=identity.password,
                host_key=identity.host_key,
                host_key_fingerprint=identity.fingerprint,
                disk_mib=disk_mib,
            )
        )

    def _cut(self, site: SimulatedSite) -> None:
        cut_link(self._net(site))
        self._end_relay(site)
        self._keep(replace(site, link=LinkState.CUT, relay=None))

    def _mend(self, site: SimulatedSite) -> None:
        mend_link(self._net(site))
        self._end_relay(site)
        self._keep(replace(site, link=LinkState.GOOD, relay=None))

    def _revive(self, name: str) -> None:
        """Boot a site that is off, with a good link; its network is made again if this machine has rebooted."""
        with self._guard:  # `ip netns add` of two at once can trip over each other
            create_network(self._net(self._sites[name]))
        self._mend(self._sites[name])
        self._boot(name)

    def _boot(self, name: str) -> None:
        site = self._sites[name]
        net, files = self._net(site), self._files(site)
        if self._give_up.is_set():
            return
        site = replace(site, process=power.boot(site, files, net, base=self.base), state=SiteState.RUNNING)
        self._keep(site)
        if site.link is not LinkState.CUT:
            power.wait_until_booted(site, files, self._give_up)

    def _remove(self, name: str) -> None:
        site = self._sites.get(name)
        if site is None:  # not even begun
            return
        net = self._net(site)
        self._end_relay(site)
        power.end(site, net)
        delete_network(net)
        self._files(site).remove()
        with self._guard:
            del self._sites[name]
            record.write_sites(self._record, self._sites)

    def _end_relay(self, site: SimulatedSite) -> None:
        if site.relay is not None:
            processes.kill(site.relay)

    def _keep(self, site: SimulatedSite) -> None:
        with self._guard:
            self._sites[site.name] = site
            record.write_sites(self._record, self._sites)

    def _write_csv(self) -> None:
        ordered = sorted(self._sites.values(), key=lambda site: site.number)
        record.write_private(self.csv_path, sites_csv(ordered, self.directory.name).encode())

    def _net(self, site: SimulatedSite) -> SiteNetwork:
        return site_network(self.directory, self.subnet, site.number)

    def _files(self, site: SimulatedSite) -> SiteFiles:
        return SiteFiles(self.directory / "sites" / site.name)


def _named(name: str, sites: dict[str, SimulatedSite]) -> SimulatedSite:
    if name not in sites:
        known = ", ".join(sites) if 0 < len(sites) <= 10 else f"{len(sites)} sites"  # noqa: PLR2004 - fits a line
        raise NotFoundError(f"the lab has no site {name}", hint=f"It has {known}.", code="E-LAB-SITE")
    return sites[name]
