"""Names and addresses of the sites' links, and what a bad link does to packets."""

from __future__ import annotations

import ipaddress
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemgr.errors import LabError
from edgemgr.lab.network import site_network
from edgemgr.lab.slow_link import LONGEST_QUEUE_S, Pipe

SUBNET = "10.200.0.0/16"
NUMBERS = st.integers(1, 2**14 - 1)


@given(NUMBERS)
def test_interface_names_fit_the_kernels_fifteen_characters(number: int):
    net = site_network(Path("/var/lib/lab"), SUBNET, number)
    assert max(len(net.interface), len(net.relay)) <= 15
    assert net.interface != net.relay


@given(NUMBERS, NUMBERS)
def test_no_two_sites_share_an_address_or_a_network(one: int, other: int):
    nets = [site_network(Path("/var/lib/lab"), SUBNET, number) for number in (one, other)]
    links = [ipaddress.IPv4Network(f"{net.gateway}/30", strict=False) for net in nets]
    assert (links[0] == links[1]) == (one == other)
    for net, link in zip(nets, links, strict=True):
        assert {ipaddress.IPv4Address(net.gateway), ipaddress.IPv4Address(net.address)} == set(link.hosts())
        assert link.subnet_of(ipaddress.IPv4Network(SUBNET))


def test_labs_in_different_folders_use_different_names():
    one, other = (site_network(Path(lab), SUBNET, 1) for lab in ("/var/lib/lab", "/tmp/lab"))  # noqa: S108
    assert {one.namespace, one.interface, one.relay}.isdisjoint({other.namespace, other.interface, other.relay})


@pytest.mark.parametrize("number", [0, 4, 5])
def test_a_site_beyond_the_subnet_is_refused(number: int):
    with pytest.raises(LabError) as refused:
        site_network(Path("/lab"), "10.9.0.0/28", number)
    assert refused.value.code == "E-LAB-SUBNET"


def pipe(*, delay_s: float = 0.0, loss: float = 0.0, bytes_per_s: float = 1e9) -> Pipe:
    return Pipe(delay_s=delay_s, loss=loss, bytes_per_s=bytes_per_s, chance=random.Random(7))  # noqa: S311 - repeatable on purpose


def test_a_packet_arrives_after_the_delay_and_not_before():
    line = pipe(delay_s=0.05)
    line.send(b"x", now_s=1.0)
    assert line.arrived(1.049) == []
    assert line.arrived(1.051) == [b"x"]
    assert line.arrived(2.0) == []


def test_packets_of_a_slow_line_follow_each_other_at_its_rate():
    line = pipe(bytes_per_s=1000)
    for letter in (b"a", b"b", b"c"):
        line.send(letter * 100, now_s=0.0)
    assert line.arrived(0.101) == [b"a" * 100]
    assert line.arrived(0.301) == [b"b" * 100, b"c" * 100]


def test_a_slow_line_drops_what_would_wait_too_long():
    line = pipe(bytes_per_s=1000)
    for _ in range(100):
        line.send(b"x" * 100, now_s=0.0)
    kept = len(line.arrived(100.0))
    assert kept == round(LONGEST_QUEUE_S * 1000 / 100) + 1


@pytest.mark.parametrize(("loss", "least", "most"), [(0.0, 1000, 1000), (0.2, 740, 860), (1.0, 0, 0)])
def test_the_loss_is_the_share_that_was_asked_for(loss: float, least: int, most: int):
    line = pipe(loss=loss)
    for moment in range(1000):
        line.send(b"x", now_s=float(moment))
    assert least <= len(line.arrived(2000.0)) <= most


@given(st.lists(st.floats(0, 5), min_size=1, max_size=30), st.floats(0, 2))
def test_packets_keep_their_order(moments: list[float], delay_s: float):
    line = pipe(delay_s=delay_s)
    sent = []
    for count, moment in enumerate(sorted(moments)):
        packet = count.to_bytes(2)
        line.send(packet, moment)
        sent.append(packet)
    assert line.arrived(100.0) == sent
