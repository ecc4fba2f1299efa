"""Sites that reach nothing but the appliance are brought up from one signed file, and try to reach nothing else."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from acceptance_stories import VERSION, import_sites
from bundle_stories import Vendor
from tests_support.appliance import Appliance
from tests_support.packet_capture import Capture, Packet

from edgemgr.lab.lab import Lab
from edgemgr.lab.network import SITE_INTERFACE, SiteNetwork, site_network

pytestmark = [pytest.mark.lab, pytest.mark.slow]

SITES = ("site-1", "site-2")
NOWHERE = "nowhere"
#: RFC 5737: an address that is nobody's, for packets that are to be seen and to arrive nowhere.
NOBODY = "192.0.2.53"
#: So that whoever looks up a name is seen, which nobody would be without a server to ask.
RESOLVER = f"nameserver {NOBODY}\noptions timeout:1 attempts:1\n"
TCP, UDP, ICMP6, HOP_BY_HOP = "6", "17", "58", "0"
SENDER = "import socket, sys; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'?', (sys.argv[1], 123))"


def network(lab: Lab, name: str) -> SiteNetwork:
    return site_network(lab.directory, lab.subnet, lab.site(name).number)


def take_ways_out(net: SiteNetwork) -> None:
    """Leave the link to the appliance. k3s does not start without a default route: it leads to an interface whose
    other end is nobody's (docs.k3s.io/installation/airgap), where every packet is seen that somebody tries to send."""
    commands = f"""
        link add {NOWHERE} type veth peer name {NOWHERE}-end
        link set {NOWHERE} arp off up
        link set {NOWHERE}-end up
        address add 203.0.113.254/31 dev {NOWHERE}
        route del default via {net.gateway}
        route add default via 203.0.113.255 dev {NOWHERE} metric 1000
    """
    subprocess.run(["ip", "-netns", net.namespace, "-batch", "-"], input=commands, text=True, check=True, timeout=30)


def is_stray(packet: Packet, net: SiteNetwork) -> bool:
    """Anything but answers of the site's sshd to the appliance, and what two ends of one cable say to each other."""
    if packet.interface == SITE_INTERFACE and packet.target == net.gateway:
        return packet.protocol != "arp" and (packet.protocol, packet.source_port) != (TCP, 22)
    return not (packet.protocol in (ICMP6, HOP_BY_HOP) and packet.target.startswith("ff02::"))


def strays(capture: Capture, net: SiteNetwork) -> list[Packet]:
    return [packet for packet in capture.seen if is_stray(packet, net)]


@pytest.fixture(scope="module")
def sealed(lab: Lab) -> Lab:
    """Two sites without a way out."""
    lab.up(len(SITES))
    for name in SITES:
        take_ways_out(network(lab, name))
        lab.run(name, ["sh", "-c", "cat >/etc/resolv.conf"], input_text=RESOLVER)
    return lab


@pytest.fixture
def captures(sealed: Lab) -> Iterator[dict[str, Capture]]:
    """Ears in each site."""
    found = {name: Capture(network(sealed, name).namespace_path) for name in SITES}
    try:
        for capture in found.values():
            capture.start()
        yield found
    finally:
        for capture in found.values():
            capture.stop()


@pytest.fixture
def appliance_with_nothing(lab: Lab, tmp_path: Path) -> Iterator[Appliance]:
    appliance = Appliance(tmp_path / "appliance", lab.directory)
    try:
        yield appliance
    finally:
        appliance.close()


def test_two_sites_without_any_other_route_are_brought_up_from_a_bundle_and_contact_nothing_else(
    lab: Lab, captures: dict[str, Capture], appliance_with_nothing: Appliance, tmp_path: Path
) -> None:
    appliance = appliance_with_nothing
    for name in SITES:
        routes = json.loads(lab.run(name, ["ip", "-json", "route"]).stdout)
        default = [route["dev"] for route in routes if route["dst"] == "default"]
        assert default == [NOWHERE], "no way out but the one that leads nowhere"
        assert {route["dev"] for route in routes} == {SITE_INTERFACE, NOWHERE}
        assert lab.run(name, ["cat", "/etc/resolv.conf"]).stdout == RESOLVER, "no DNS: nobody is there"
        running = lab.run(name, ["sh", "-c", "cat /proc/[0-9]*/comm"]).stdout.split()
        assert not {"systemd-timesyn", "chronyd", "ntpd", "systemd-resolve"} & set(running), "no NTP"
    import_sites(appliance, lab)
    Vendor(appliance, tmp_path / "vendor", images_mib=8).bring(1)
    appliance.serve()
    appliance.run("bootstrap", "--all", "--version", VERSION, "--wait", "--timeout", "5m", timeout_s=400)
    for name in SITES:
        assert (appliance.site(name)["health"], appliance.site(name)["k3s_version"]) == ("healthy", VERSION)
    for name, capture in captures.items():
        capture.stop()
        net = network(lab, name)
        assert capture.dropped == 0
        assert {packet.target for packet in capture.seen if packet.source_port == 22} == {net.gateway}
        assert strays(capture, net) == []


def test_the_capture_sees_what_is_sent_on_purpose(lab: Lab, captures: dict[str, Capture]) -> None:
    net, capture = network(lab, "site-1"), captures["site-1"]
    assert lab.run("site-1", ["getent", "hosts", "example.com"]).returncode != 0
    sent = lab.run("site-1", ["python3", "-c", SENDER, net.gateway])
    assert sent.returncode == 0, sent.stderr
    capture.stop()
    found = {(stray.interface, stray.protocol, stray.target, stray.target_port) for stray in strays(capture, net)}
    assert found == {(NOWHERE, UDP, NOBODY, 53), (SITE_INTERFACE, UDP, net.gateway, 123)}
