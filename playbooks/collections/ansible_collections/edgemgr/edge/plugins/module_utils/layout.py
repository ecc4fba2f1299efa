"""Where things lie on a node: every path that edgemgr or k3s uses there, named once."""

from __future__ import annotations

STATE_DIR = "/var/lib/edgemgr"
FENCE_RECORD = STATE_DIR + "/fence.json"
MARKER = STATE_DIR + "/installed.json"
CACHE_DIR = STATE_DIR + "/cache/sha256"
INCOMING_DIR = STATE_DIR + "/incoming"
LOCK = "/run/lock/edgemgr.lock"
# For what a person carries there on a stick: whose orders count, which was the last, and what was confirmed.
ORDER_KEYS = STATE_DIR + "/appliance-keys.pub"
NEWEST_ORDER = STATE_DIR + "/newest-order.json"
RECEIPTS_DIR = STATE_DIR + "/receipts"

PROGRAM_DIR = "/usr/local/lib/edgemgr"
BINARY_DIR = PROGRAM_DIR + "/k3s"
LINK_DIR = "/usr/local/bin"
K3S = LINK_DIR + "/k3s"
TOOLS = ("kubectl", "crictl", "ctr")
KILLALL = LINK_DIR + "/k3s-killall.sh"
UNINSTALL = LINK_DIR + "/k3s-uninstall.sh"

UNIT = "k3s.service"
UNIT_FILE = "/etc/systemd/system/" + UNIT
CONFIG_DIR = "/etc/rancher/k3s"
CONFIG = CONFIG_DIR + "/config.yaml"
KUBECONFIG = CONFIG_DIR + "/k3s.yaml"

RANCHER_DIR = "/var/lib/rancher"
DATA_DIR = RANCHER_DIR + "/k3s"
IMAGES_DIR = DATA_DIR + "/agent/images"
IMAGES_PREFIX = "edgemgr-"

CHUNK_BYTES = 4 * 1024 * 1024


def cached(digest: str) -> str:
    """The file of the content store with this sha256 (hex)."""
    return CACHE_DIR + "/" + digest


def partial(digest: str) -> str:
    """Where the chunks of a file are gathered until all have come."""
    return cached(digest) + ".part"


def binary(version: str) -> str:
    """The k3s program of one version; several versions can lie side by side."""
    return BINARY_DIR + "/" + version + "/k3s"


def images(digest: str, name: str) -> str:
    """Where k3s looks for an image archive; the ending tells it how the archive is packed."""
    return IMAGES_DIR + "/" + IMAGES_PREFIX + digest[:12] + name[name.index(".tar") :]
