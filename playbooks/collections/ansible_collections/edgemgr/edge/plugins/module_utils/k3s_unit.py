"""The texts that edgemgr puts on a node beside k3s: the service and the two scripts that k3s users expect.

The settings of the service and what the scripts clear away follow k3s' own installer (k3s-io/k3s, install.sh), so
that a node behaves as its documentation says. Everything that can be configured stands in config.yaml.
"""

from __future__ import annotations

UNIT = """\
# Written by edgemgr; a change made here is undone by the next bootstrap.
[Unit]
Description=k3s server of this site
Wants=network-online.target
After=network-online.target time-sync.target

[Service]
Type=notify
# Stopping or restarting k3s leaves the workloads running: containers belong to their shims.
KillMode=process
Delegate=yes
LimitNOFILE=1048576
LimitNPROC=infinity
LimitCORE=infinity
TasksMax=infinity
# The first start unpacks the binary and imports images, which takes minutes on slow disks.
TimeoutStartSec=0
Restart=always
RestartSec=5s
ExecStartPre=-/sbin/modprobe br_netfilter
ExecStartPre=-/sbin/modprobe overlay
ExecStart=/usr/local/bin/k3s server

[Install]
WantedBy=multi-user.target
"""

KILLALL = r"""#!/bin/sh
# Written by edgemgr. Ends k3s and every container of it, and clears the network that they used; keeps all data.
[ "$(id -u)" -eq 0 ] || { echo "k3s-killall.sh has to run as root" >&2; exit 1; }

for unit in /etc/systemd/system/k3s*.service; do
    [ -e "$unit" ] && systemctl stop "$(basename "$unit")"
done

# A container's processes are the descendants of its shim, which runs from k3s' own data directory.
descendants() {
    for child in $(grep -lE "^PPid:[[:space:]]+$1\$" /proc/[0-9]*/status 2>/dev/null | cut -d / -f 3); do
        echo "$child"
        descendants "$child"
    done
}

shims() {
    for entry in /proc/[0-9]*; do
        tr '\0' '\n' <"$entry/cmdline" 2>/dev/null |
            grep -qE '^/var/lib/rancher/k3s/data/[^/]*/bin/containerd-shim' && echo "${entry#/proc/}"
    done
}

for round in 1 2 3; do
    doomed=$(for shim in $(shims); do echo "$shim"; descendants "$shim"; done)
    [ -n "$doomed" ] || break
    # shellcheck disable=SC2086 # a list of process ids
    kill -KILL $doomed 2>/dev/null
    sleep 1
done

# Deepest first. A file system that somebody mounted *as* one of these directories stays.
unmount_below() {
    cut -d ' ' -f 2 /proc/self/mounts | sort -r | while IFS= read -r place; do
        case $place in
            "$1"/*) umount -f "$place" 2>/dev/null || umount -l "$place" ;;
        esac
    done
}

unmount_below /run/k3s
unmount_below /var/lib/rancher/k3s
unmount_below /var/lib/kubelet/pods
unmount_below /var/lib/kubelet/plugins
cut -d ' ' -f 2 /proc/self/mounts | grep '^/run/netns/cni-' | sort -r | while IFS= read -r place; do
    umount -l "$place"
    rm -f "$place"
done

if command -v ip >/dev/null 2>&1; then
    ip netns list 2>/dev/null | cut -d ' ' -f 1 | grep '^cni-' | while IFS= read -r name; do
        ip netns delete "$name"
    done
    ip -o link show master cni0 2>/dev/null | cut -d ' ' -f 2 | cut -d @ -f 1 | tr -d : | while IFS= read -r name; do
        ip link delete "$name"
    done
    for name in cni0 flannel.1 flannel-v6.1 flannel-wg flannel-wg-v6 kube-ipvs0; do
        ip link delete "$name" 2>/dev/null
    done
fi
rm -rf /var/lib/cni /run/k3s /run/flannel

for family in iptables ip6tables; do
    command -v "$family-save" >/dev/null 2>&1 || continue
    rules=$("$family-save" 2>/dev/null)
    if printf '%s\n' "$rules" | grep -qiE 'KUBE-|CNI-|flannel'; then
        printf '%s\n' "$rules" | grep -viE 'KUBE-|CNI-|flannel' | "$family-restore"
    fi
done
exit 0
"""

UNINSTALL = r"""#!/bin/sh
# Written by edgemgr. Removes k3s with ALL its data, volumes included. `edgemgr reset` does the same and notes it.
[ "$(id -u)" -eq 0 ] || { echo "k3s-uninstall.sh has to run as root" >&2; exit 1; }

upgrade=/var/lib/edgemgr/upgrade
if [ -e "$upgrade/plan.json" ] && [ ! -e "$upgrade/verdict.json" ]; then
    echo "An upgrade is at work; it ends by itself." >&2
    exit 1
fi
if [ -e "$upgrade/hold" ]; then
    echo "An upgrade needs hands. If its two states are of no use any more, remove this file first: $upgrade/hold" >&2
    exit 1
fi
/usr/local/bin/k3s-killall.sh
systemctl disable k3s.service edgemgr-upgrade.service 2>/dev/null
# Backups, and states that were put aside, hold every secret of the cluster.
rm -rf "$upgrade" /var/lib/edgemgr/backups /var/lib/edgemgr/outgoing /var/lib/edgemgr/rotation /var/lib/edgemgr/token
rm -rf /etc/rancher/.k3s.edgemgr-* /etc/rancher/.node.edgemgr-*
rm -f /var/lib/edgemgr/restore.json /usr/local/lib/edgemgr/activation.pyz
rm -f /etc/systemd/system/k3s.service /etc/systemd/system/edgemgr-upgrade.service
rm -f /etc/systemd/system/k3s.service.d/edgemgr-upgrade.conf
rmdir /etc/systemd/system/k3s.service.d 2>/dev/null
systemctl daemon-reload
systemctl reset-failed k3s.service 2>/dev/null

for tool in kubectl crictl ctr; do
    [ "$(readlink "/usr/local/bin/$tool")" = k3s ] && rm -f "/usr/local/bin/$tool"
done
rm -rf /etc/rancher/k3s /etc/rancher/node /var/lib/rancher/k3s /var/lib/kubelet /usr/local/lib/edgemgr/k3s
rm -f /usr/local/bin/k3s /usr/local/bin/k3s-killall.sh /var/lib/edgemgr/installed.json
rm -f "$0"
"""
