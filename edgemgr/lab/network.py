"""A site's network: a namespace, one veth pair, and a /30 that only this machine and the site share.

A link is cut by teaching both ends a wrong hardware address of each other: packets then vanish without a word,
as on a line that is down, in both directions, and connections that stand are not ended. Taking the interface
down instead would remove its route, and packets for the site would leave through this machine's own default route.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
from dataclasses import dataclass
from pathlib import Path

from edgemgr.errors import LabError
from edgemgr.lab.programs import run_program

NAMESPACES = Path("/run/netns")
INTERFACES = Path("/sys/class/net")
SITE_INTERFACE = "eth0"
SITE_RELAY = "lab-relay"
NOBODY = "02:00:00:00:de:ad"  #: locally administered address that no interface has
PREFIX_LENGTH = 30


@dataclass(frozen=True)
class SiteNetwork:
    """Names and addresses of one site's network; interface names have at most 15 characters."""

    namespace: str
    interface: str  #: this machine's end of the veth pair
    relay: str  #: this machine's end of the degraded link, while there is one
    gateway: str
    address: str

    @property
    def namespace_path(self) -> Path:
        """Where the namespace is mounted."""
        return NAMESPACES / self.namespace

    @property
    def stands(self) -> bool:
        """Whether the network is there."""
        return self.namespace_path.exists() and (INTERFACES / self.interface).exists()


def site_network(lab: Path, subnet: str, number: int) -> SiteNetwork:
    """Derive the network of site `number` of the lab in that folder; the names differ between folders.

    Raises:
        LabError: E-LAB-SUBNET, the subnet has no room for it.
    """
    whole = ipaddress.IPv4Network(subnet)
    first = int(whole.network_address) + 4 * number
    if not 0 < number < whole.num_addresses // 4:
        raise LabError(
            f"site {number} does not fit in {subnet}", hint="Use a larger subnet or fewer sites.", code="E-LAB-SUBNET"
        )
    prefix = f"el{hashlib.sha256(str(lab).encode()).hexdigest()[:4]}"
    return SiteNetwork(
        namespace=f"{prefix}-{number}",
        interface=f"{prefix}v{number}",
        relay=f"{prefix}r{number}",
        gateway=str(ipaddress.IPv4Address(first + 1)),
        address=str(ipaddress.IPv4Address(first + 2)),
    )


def refuse_taken_addresses(networks: list[SiteNetwork]) -> None:
    """Refuse when this machine uses one of the addresses elsewhere already.

    Raises:
        LabError: E-LAB-SUBNET, names the address and the interface.
    """
    wanted = {ipaddress.IPv4Network(f"{net.gateway}/{PREFIX_LENGTH}", strict=False): net.interface for net in networks}
    for interface in json.loads(run_program("ip", "-json", "-4", "address", doing="list this machine's addresses")):
        for entry in interface.get("addr_info", []):
            if "local" not in entry:
                continue
            taken = ipaddress.IPv4Network(f"{entry['local']}/{entry['prefixlen']}", strict=False)
            clash = next((net for net in wanted if net.overlaps(taken)), None)
            if clash and wanted[clash] != interface["ifname"]:
                raise LabError(
                    f"{taken} on {interface['ifname']} overlaps with {clash} of the lab",
                    hint="Another lab or network of this machine uses it: end that one, or choose another subnet.",
                    code="E-LAB-SUBNET",
                )


def create_network(net: SiteNetwork) -> None:
    """Make the namespace and the link; leaves a complete one as it is, and makes a half-made one anew."""
    if net.stands:
        return
    delete_network(net)
    doing = f"make the network of {net.address}"
    run_program("ip", "netns", "add", net.namespace, doing=doing)
    _batch(
        f"link add {net.interface} type veth peer name {SITE_INTERFACE} netns {net.namespace}",
        f"address add {net.gateway}/{PREFIX_LENGTH} dev {net.interface}",
        f"link set {net.interface} up",
        doing=doing,
    )
    _batch(
        "link set lo up",
        f"address add {net.address}/{PREFIX_LENGTH} dev {SITE_INTERFACE}",
        f"link set {SITE_INTERFACE} up",
        f"route add default via {net.gateway}",
        doing=doing,
        namespace=net.namespace,
    )


def delete_network(net: SiteNetwork) -> None:
    """Remove what there is of it."""
    if (INTERFACES / net.interface).exists():
        run_program("ip", "link", "delete", net.interface, doing="remove a link")
    if net.namespace_path.exists():
        run_program("ip", "netns", "delete", net.namespace, doing="remove a network namespace")


def processes_inside(net: SiteNetwork) -> list[int]:
    """Every process that uses the site's namespace, which is the lab's own: all of them belong to the site."""
    if not net.namespace_path.exists():
        return []
    return [int(pid) for pid in run_program("ip", "netns", "pids", net.namespace, doing="list processes").split()]


def cut_link(net: SiteNetwork) -> None:
    """Let every packet between this machine and the site vanish."""
    doing = f"cut the link to {net.address}"
    _batch(f"neighbour replace {net.address} lladdr {NOBODY} dev {net.interface} nud permanent", doing=doing)
    _batch(
        f"neighbour replace {net.gateway} lladdr {NOBODY} dev {SITE_INTERFACE} nud permanent",
        doing=doing,
        namespace=net.namespace,
    )


def mend_link(net: SiteNetwork) -> None:
    """Undo a cut; nothing happens to a link that is whole."""
    doing = f"mend the link to {net.address}"
    _batch(f"neighbour flush dev {net.interface} nud permanent", doing=doing)
    _batch(f"neighbour flush dev {SITE_INTERFACE} nud permanent", doing=doing, namespace=net.namespace)


def route_through_relay(net: SiteNetwork) -> None:
    """Send what this machine and the site have for each other through the relay's interfaces.

    The addresses stay, so connections that stand go on; when the relay ends, so do its interfaces and these routes.
    """
    doing = f"degrade the link to {net.address}"
    _batch(
        f"link set {SITE_RELAY} up",
        f"route replace {net.gateway}/32 dev {SITE_RELAY} src {net.address}",
        doing=doing,
        namespace=net.namespace,
    )
    _batch(f"link set {net.relay} up", f"route replace {net.address}/32 dev {net.relay} src {net.gateway}", doing=doing)


def _batch(*commands: str, doing: str, namespace: str | None = None) -> None:
    inside = ["-netns", namespace] if namespace else []
    run_program("ip", *inside, "-batch", "-", doing=doing, input_text="\n".join(commands) + "\n")
