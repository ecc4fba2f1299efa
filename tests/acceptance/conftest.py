"""Simulated sites and an appliance for each file of stories."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Callable, Iterator

import pytest
import testinfra
from testinfra.host import Host
from tests_support.appliance import Appliance
from tests_support.own_lab import own_lab

from edgemgr.lab.lab import Lab

VERSION = "v1.33.5+k3s1"
_SUBNETS = (f"10.202.{part}.0/24" for part in itertools.count())


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """An empty lab of the file's own."""
    with own_lab(request.module.__name__.rpartition(".")[2], next(_SUBNETS)) as lab:
        yield lab


@pytest.fixture(scope="module")
def appliance(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """An appliance with a k3s release, and no site yet."""
    appliance = Appliance(tmp_path_factory.mktemp("appliance"), lab.directory)
    release = tmp_path_factory.mktemp("releases") / VERSION
    appliance.run("lab", "release", "--version", VERSION, str(release))
    appliance.run("release", "add", str(release))
    try:
        yield appliance
    finally:
        appliance.close()


@pytest.fixture(scope="module")
def look(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Host]:
    """testinfra over the test's own SSH key: what is on a site, whatever edgemgr says."""
    directory = tmp_path_factory.mktemp("look")
    key = directory / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True, timeout=30)
    public = key.with_suffix(".pub").read_text()

    def host(name: str) -> Host:
        site = lab.site(name)
        keys = f"/home/{site.user}/.ssh/authorized_keys"
        script = f"""
            install -d -m 700 -o {site.user} -g {site.user} {keys.rpartition("/")[0]}
            grep -qF '{public.split()[1]}' {keys} 2>/dev/null || cat >>{keys}
            chown {site.user}: {keys}; chmod 600 {keys}
        """
        lab.run(name, ["sh", "-c", script], input_text=public)
        config = directory / f"{name}.conf"
        known = directory / f"{name}.known"
        known.write_text(f"{site.address} {site.host_key}\n")
        config.write_text(
            f"Host {name}\n  HostName {site.address}\n  Port {site.port}\n  User {site.user}\n  IdentityFile {key}\n"
            f"  UserKnownHostsFile {known}\n  StrictHostKeyChecking yes\n  IdentitiesOnly yes\n  ConnectTimeout 10\n"
        )
        return testinfra.get_host(f"ssh://{name}", ssh_config=str(config), sudo=True)

    return host
