"""The configuration of `k3s server`: config.yaml, config.yaml.d and arguments, with the flags that a version knows."""

from __future__ import annotations

from .environment import CONFIG_DIR, DATA_DIR, below_root, variable
from .journal import FatalError, log
from .yaml_subset import YamlError, documents

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# Flags of `k3s server` (k3s-io/k3s, pkg/cli/cmds/server.go and agent.go). The number after @ is the Kubernetes minor
# that first had the flag, where it is younger than 1.20; these numbers are from memory of release notes, not checked
# one by one. A flag that ends in ! takes no value.
_FLAGS = """
advertise-address advertise-port agent-token agent-token-file alsologtostderr! bind-address cluster-cidr cluster-dns
cluster-domain cluster-init! cluster-reset! cluster-reset-restore-path cluster-secret config container-runtime-endpoint
data-dir datastore-cafile datastore-certfile datastore-endpoint datastore-keyfile debug! default-local-storage-path
default-runtime@29 disable disable-agent! disable-apiserver!@21 disable-cloud-controller!
disable-controller-manager!@21 disable-default-registry-endpoint!@29 disable-etcd!@21 disable-helm-controller!@22
disable-kube-proxy! disable-network-policy! disable-scheduler! disable-selinux! docker! egress-selector-mode@24
embedded-registry!@29 enable-pprof!@25 enable-selinux! etcd-arg@21 etcd-disable-snapshots! etcd-expose-metrics!
etcd-s3! etcd-s3-access-key etcd-s3-bucket etcd-s3-endpoint etcd-s3-endpoint-ca etcd-s3-folder etcd-s3-insecure!@22
etcd-s3-region etcd-s3-secret-key etcd-s3-skip-ssl-verify! etcd-s3-timeout@22 etcd-snapshot-compress!@24
etcd-snapshot-dir etcd-snapshot-name etcd-snapshot-retention etcd-snapshot-schedule-cron flannel-backend
flannel-cni-conf@24 flannel-conf flannel-external-ip!@26 flannel-iface flannel-ipv6-masq!@23 helm-job-image@27
https-listen-port image-credential-provider-bin-dir@21 image-credential-provider-config@21 image-service-endpoint@28
kine-tls!@30 kube-apiserver-arg kube-cloud-controller-manager-arg kube-controller-manager-arg kube-proxy-arg
kube-scheduler-arg kubelet-arg lb-server-port log node-external-dns@32 node-external-ip node-internal-dns@32 node-ip
node-label node-name node-taint nonroot-devices!@31 pause-image prefer-bundled-bin!@25 private-registry
protect-kernel-defaults! resolv-conf rootless! secrets-encryption! secrets-encryption-provider@33 selinux! server
service-cidr service-node-port-range@21 servicelb-namespace@26 snapshotter supervisor-metrics!@30
system-default-registry tls-san tls-san-security!@25 token token-file v vmodule vpn-auth@27 vpn-auth-file@27
with-node-id! write-kubeconfig write-kubeconfig-group@30 write-kubeconfig-mode
"""
_FIRST_THAT_SKIPS = 22  # k3s 1.22 skips an unknown key with a warning, older ones end


def known_flags(minor: int) -> dict[str, bool]:
    """Flag → whether it stands without a value, for the Kubernetes minor given."""
    found = {}
    for word in _FLAGS.split():
        name, _, since = word.partition("@")
        bare = name.endswith("!") or since.endswith("!")
        if not since or int(since.rstrip("!")) <= minor:
            found[name.rstrip("!")] = bare
    return found


class ServerConfig:
    """What was configured; every value is a list of texts, the last of which counts where one is wanted."""

    def __init__(self, values: dict[str, list[str]]) -> None:
        self.values = values

    def text(self, key: str, default: str = "") -> str:
        """The value of a key, or the default."""
        return self.values.get(key, [default])[-1]

    def is_set(self, key: str) -> bool:
        """Whether a switch is on."""
        return self.text(key) == "true"

    def number(self, key: str, default: int) -> int:
        """The value of a key as a number.

        Raises:
            FatalError: it is none.
        """
        try:
            return int(self.text(key, str(default)))
        except ValueError as exc:
            raise FatalError(f'invalid value "{self.text(key)}" for flag -{key}: parse error') from exc

    def many(self, key: str) -> list[str]:
        """All values of a key; commas separate, too."""
        return [part.strip() for value in self.values.get(key, []) for part in value.split(",") if part.strip()]


def read_config(arguments: Sequence[str], minor: int) -> ServerConfig:
    """Files first, then arguments, as k3s does.

    Raises:
        FatalError: an argument is unknown; a key is, and the version ends at that; a file cannot be read.
    """
    known = known_flags(minor)
    told = _arguments(arguments, known)
    values: dict[str, list[str]] = {}
    for path in _files(variable("K3S_CONFIG_FILE") or (told.get("config") or [""])[-1]):
        try:
            content = documents(path.read_text("utf-8"))[0] or {}
        except (YamlError, UnicodeDecodeError) as exc:
            raise FatalError(f"failed to parse {path}: {exc}") from exc
        if not isinstance(content, dict):
            raise FatalError(f"failed to parse {path}: not a mapping")
        for key, value in content.items():
            name = key.removesuffix("+")
            if name not in known:
                _unknown(name, minor)
                continue
            texts = [_as_text(item) for item in value] if isinstance(value, list) else [_as_text(value)]
            values[name] = values.get(name, []) + texts if key.endswith("+") else texts
    values.update(told)
    return ServerConfig(values)


def _files(named: str) -> list[Path]:
    """The file that is read, and those of its directory `.d` (k3s-io/k3s, pkg/configfilearg/parser.go).

    Raises:
        FatalError: a file was named, and is not there.
    """
    path = below_root(named or f"{CONFIG_DIR}/config.yaml")
    if named and not path.exists():
        raise FatalError(f"open {named}: no such file or directory")
    return [*([path] if path.exists() else []), *sorted(path.with_name(f"{path.name}.d").glob("*.y*ml"))]


def _unknown(name: str, minor: int) -> None:
    if minor < _FIRST_THAT_SKIPS:
        raise FatalError(f"flag provided but not defined: -{name}")
    log("warning", f"Unknown flag --{name} found in config.yaml, skipping")


def _as_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)


def _arguments(arguments: Sequence[str], known: dict[str, bool]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    rest = list(arguments)
    while rest:
        name, separator, value = rest.pop(0).lstrip("-").partition("=")
        if name not in known:
            raise FatalError(f"flag provided but not defined: -{name}")
        if not separator:
            if not known[name] and not rest:
                raise FatalError(f"flag needs an argument: -{name}")
            value = "true" if known[name] else rest.pop(0)
        found.setdefault(name, []).append(value)
    return found


def data_dir(config: ServerConfig) -> str:
    """The data directory; k3s adds nothing to a path that was configured."""
    return config.text("data-dir", DATA_DIR)
