"""What a minor version of Kubernetes or k3s takes away or changes, as far as a configuration shows it. Pure.

An option that a component does not know makes it exit while it starts, and k3s with it. Sources: the change logs of
Kubernetes (kubernetes/kubernetes #122082, #122363, #122612, #124017, #124948, #130161, #133779, its announcement of
v1.27), siderolabs/go-kubernetes (kubernetes/upgrade/checks.go, which lists them too), docs.k3s.io/upgrades for what k3s
packages.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Minor = tuple[int, int]

_KUBELET, _API, _MANAGER = "kubelet-arg", "kube-apiserver-arg", "kube-controller-manager-arg"
#: Minor version → option of k3s → arguments that it takes away.
_REMOVED_ARGUMENTS: dict[Minor, dict[str, tuple[str, ...]]] = {
    (1, 25): {
        _API: ("service-account-api-audiences",),
        _MANAGER: ("deleting-pods-qps", "deleting-pods-burst", "register-retry-count"),
    },
    (1, 26): {_API: ("master-service-namespace",)},
    (1, 27): {
        _KUBELET: ("container-runtime", "master-service-namespace"),
        _MANAGER: ("enable-taint-manager", "pod-eviction-timeout"),
    },
    (1, 31): {
        _KUBELET: ("keep-terminated-pod-volumes", "iptables-masquerade-bit", "iptables-drop-bit"),
        _MANAGER: (
            "volume-host-cidr-denylist",
            "volume-host-allow-local-loopback",
            "horizontal-pod-autoscaler-upscale-delay",
            "horizontal-pod-autoscaler-downscale-delay",
        ),
    },
    (1, 33): {_API: ("cloud-config",)},
    (1, 34): {_KUBELET: ("cloud-config",)},
    (1, 35): {_KUBELET: ("pod-infra-container-image",)},
}
_REMOVED_PLUGINS: dict[Minor, str] = {(1, 25): "PodSecurityPolicy", (1, 30): "SecurityContextDeny"}
_PLUGINS = ("enable-admission-plugins", "disable-admission-plugins")
_TRAEFIK_3: Minor = (1, 32)


def removed_options(config: Mapping[str, Any], after: Minor, upto: Minor) -> list[str]:
    """What a configuration of k3s uses that is gone in a minor version after `after`, up to `upto`; sentences."""
    found = []
    for option, arguments in _arguments(config):
        for minor, removed in _REMOVED_ARGUMENTS.items():
            if after < minor <= upto:
                gone = [name for name in arguments if name in removed.get(option, ())]
                found += [f"{option} {name} is gone in v{minor[0]}.{minor[1]}" for name in gone]
        for minor, plugin in _REMOVED_PLUGINS.items():
            used = {each for name in _PLUGINS for each in arguments.get(name, "").split(",")}
            if option == _API and after < minor <= upto and plugin in used:
                found.append(f"the admission plugin {plugin} is gone in v{minor[0]}.{minor[1]}")
    return found


def notes(config: Mapping[str, Any] | None, after: Minor, upto: Minor) -> list[str]:
    """What somebody should know of the minor versions after `after`, up to `upto`; sentences.

    `config` is None where it is not known.
    """
    found = []
    if after < _TRAEFIK_3 <= upto and "traefik" not in _disabled(config or {}):
        found.append("v1.32 brings Traefik 3, which reads some routes and options of Traefik 2 in another way")
    if config is not None and any("feature-gates" in arguments for _, arguments in _arguments(config)):
        found.append("feature gates are set, and a version that no longer knows one does not start")
    return found


def _arguments(config: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, str]]]:
    """(option, argument → value) of the options that hand arguments to a component of Kubernetes."""
    for key, value in config.items():
        option = key.rstrip("+")
        if option.endswith("-arg"):
            words = [str(each).lstrip("-").partition("=") for each in _listed(value)]
            yield option, {name: text for name, _, text in words}


def _disabled(config: Mapping[str, Any]) -> set[str]:
    listed = [each for key in ("disable", "disable+") for each in _listed(config.get(key, ()))]
    return {word.strip() for each in listed for word in str(each).split(",")}


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
