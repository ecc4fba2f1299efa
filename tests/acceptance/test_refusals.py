"""Sites that must not be touched: each ends with its own code, sentence and hint, and is left as it was."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from acceptance_stories import VERSION, import_sites
from tests_support.appliance import Appliance, until

from edgemgr.lab.lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.slow]

#: Places that a bootstrap changes. A refused site has them as they were.
WATCHED = ("/usr/local", "/etc/rancher", "/etc/systemd/system", "/var/lib/rancher", "/var/lib/edgemgr")
SITES = 6


@pytest.fixture(scope="module")
def sites(lab: Lab, appliance: Appliance) -> Iterator[Appliance]:
    lab.up(SITES, light=True)
    import_sites(appliance, lab)
    appliance.serve()
    yield appliance
    appliance.close()


def picture(lab: Lab, name: str) -> str:
    """Names, sizes and times of everything in the watched places."""
    command = ["find", *WATCHED, "-printf", "%p %s %T@ %l\\n"]
    return lab.run(name, command).stdout


def refusal(appliance: Appliance, name: str) -> dict[str, str]:
    """Ask for a bootstrap and return the operation, which must have ended as failed."""
    done = appliance.attempt("bootstrap", name, "--version", VERSION, "--wait", "--timeout", "60s")
    operation = appliance.operation(name)
    assert done.returncode == 6, done.stderr + appliance.tail()
    assert operation["state"] == "failed", operation
    assert operation["code"] in done.stderr
    assert operation["message"]
    assert operation["hint"]
    return operation


@pytest.fixture
def logged_in(sites: Appliance, lab: Lab) -> Callable[[str], str]:
    """A site on which our key is installed already, so that only the fault in question is left."""

    def ready(name: str) -> str:
        sites.run("verify", name, "--wait", "--timeout", "60s", status=6)  # there is no k3s yet
        until("the key is installed", lambda: lab.run(name, ["find", "/home", "-name", "authorized_keys"]).stdout, 10)
        return name

    return ready


def test_a_wrong_host_key_in_the_csv_stops_the_site_before_any_login(
    sites: Appliance, lab: Lab, tmp_path: Path
) -> None:
    site = lab.site("site-1")
    other = lab.site("site-2").host_key_fingerprint
    wrong = tmp_path / "wrong.csv"
    wrong.write_text(
        "name,address,port,user,host_key,password\n"
        f"impostor,{site.address},{site.port},{site.user},{other[:-4]}AAAA,{site.password}\n"
    )
    sites.run("site", "delete", "site-1", "--yes")
    sites.run("site", "import", str(wrong))
    before = picture(lab, "site-1")
    assert refusal(sites, "impostor")["code"] == "E-SITE-IDENTITY-MISMATCH"
    assert picture(lab, "site-1") == before
    assert lab.run("site-1", ["find", "/home", "-name", "authorized_keys"]).stdout == ""
    assert sites.site("impostor")["trust"] == "mismatch"


def test_a_host_key_that_changed_stops_the_site(sites: Appliance, lab: Lab, logged_in: Callable[[str], str]) -> None:
    name = logged_in("site-2")
    lab.run(
        name, ["sh", "-c", "rm /etc/ssh/ssh_host_*; ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key"]
    )
    lab.run(name, ["pkill", "-HUP", "-o", "sshd"])
    before = picture(lab, name)
    assert refusal(sites, name)["code"] == "E-SITE-IDENTITY-MISMATCH"
    assert picture(lab, name) == before
    assert sites.site(name)["trust"] == "mismatch"


def test_a_user_who_may_not_use_sudo_is_refused(sites: Appliance, lab: Lab, logged_in: Callable[[str], str]) -> None:
    name = logged_in("site-3")
    lab.run(name, ["sh", "-c", "mv /etc/sudoers.d /etc/sudoers.d.away && mkdir /etc/sudoers.d"])
    before = picture(lab, name)
    assert refusal(sites, name)["code"] == "E-PRE-SUDO"
    assert picture(lab, name) == before


def test_a_node_without_python_is_refused(sites: Appliance, lab: Lab, logged_in: Callable[[str], str]) -> None:
    name = logged_in("site-4")
    lab.run(name, ["sh", "-c", "mv /usr/bin/python3 /usr/bin/python3-away; mv /usr/bin/python3.11 /usr/bin/p3.11-away"])
    before = picture(lab, name)
    assert refusal(sites, name)["code"] == "E-PRE-PYTHON"
    assert picture(lab, name) == before


def test_a_k3s_that_we_did_not_install_is_left_alone(
    sites: Appliance, lab: Lab, logged_in: Callable[[str], str]
) -> None:
    name = logged_in("site-5")
    lab.run(name, ["sh", "-c", "printf '#!/bin/sh\\necho k3s version v1.30.0+k3s1\\n' >/usr/local/bin/k3s"])
    lab.run(name, ["chmod", "755", "/usr/local/bin/k3s"])
    before = picture(lab, name)
    assert refusal(sites, name)["code"] == "E-PRE-FOREIGN"
    assert picture(lab, name) == before


def test_a_wrong_clock_is_refused_with_both_times(sites: Appliance, lab: Lab, logged_in: Callable[[str], str]) -> None:
    name = logged_in("site-6")
    (library,) = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
    place = "/usr/lib/libfaketime.so.1"
    lab.run(name, ["sh", "-c", f"base64 -d >{place}"], input_text=_base64(library))
    # The clock of a simulated site is this machine's: its Python is told another time.
    wrapper = f'#!/bin/sh\\nLD_PRELOAD={place} FAKETIME=+2h exec /usr/bin/python3.11 "$@"\\n'
    lab.run(
        name, ["sh", "-c", f"rm /usr/bin/python3; printf '{wrapper}' >/usr/bin/python3; chmod 755 /usr/bin/python3"]
    )
    operation = refusal(sites, name)
    assert operation["code"] == "E-PRE-CLOCK"
    assert re.search(r"\d", operation["message"])


def test_a_full_disk_is_refused_before_anything_is_sent(appliance: Appliance, lab: Lab) -> None:
    lab.up(SITES + 1, light=True, disk_mib=64)
    name = f"site-{SITES + 1}"
    import_again = appliance.attempt("site", "import", str(lab.csv_path), "--good-rows")
    assert name in {site["name"] for site in appliance.items("site", "list")}, import_again.stderr
    before = picture(lab, name)
    assert refusal(appliance, name)["code"] == "E-PRE-DISK"
    assert picture(lab, name) == before


def _base64(path: Path) -> str:
    import base64

    return base64.b64encode(path.read_bytes()).decode()
