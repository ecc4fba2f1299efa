"""The kinds of objects that the API serves, and the names they have in the datastore."""

from __future__ import annotations

import os
from collections import namedtuple

from .journal import timestamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Kind(namedtuple("Kind", ("group", "version", "plural", "kind", "namespaced", "short"))):  # noqa: PYI024
    """One kind; a NamedTuple would need the typing module, which costs a node a megabyte."""

    __slots__ = ()

    @property
    def api_version(self) -> str:
        """As objects name it."""
        return f"{self.group}/{self.version}" if self.group else str(self.version)

    def prefix(self, namespace: str = "") -> str:
        """What the names of its objects begin with in the datastore (Kubernetes, registry paths)."""
        stored = _STORED_AS.get(self.plural, self.plural)
        if self.group.endswith(".cattle.io"):  # a custom resource
            stored = f"{self.group}/{stored}"
        return f"/registry/{stored}/{namespace}/" if namespace and self.namespaced else f"/registry/{stored}/"

    def name_of(self, namespace: str, name: str) -> str:
        """The name of one object in the datastore."""
        return self.prefix(namespace) + name


_STORED_AS = {"nodes": "minions", "services": "services/specs", "endpoints": "services/endpoints"}

# group version plural kind namespaced short-names
_TABLE = """
- v1 nodes Node no no
- v1 namespaces Namespace no ns
- v1 pods Pod yes po
- v1 events Event yes ev
- v1 services Service yes svc
- v1 endpoints Endpoints yes ep
- v1 configmaps ConfigMap yes cm
- v1 secrets Secret yes -
- v1 serviceaccounts ServiceAccount yes sa
- v1 persistentvolumeclaims PersistentVolumeClaim yes pvc
- v1 persistentvolumes PersistentVolume no pv
apps v1 deployments Deployment yes deploy
apps v1 daemonsets DaemonSet yes ds
apps v1 statefulsets StatefulSet yes sts
apps v1 replicasets ReplicaSet yes rs
batch v1 jobs Job yes -
batch v1 cronjobs CronJob yes cj
coordination.k8s.io v1 leases Lease yes -
networking.k8s.io v1 ingresses Ingress yes ing
networking.k8s.io v1 networkpolicies NetworkPolicy yes netpol
rbac.authorization.k8s.io v1 roles Role yes -
rbac.authorization.k8s.io v1 rolebindings RoleBinding yes -
rbac.authorization.k8s.io v1 clusterroles ClusterRole no -
rbac.authorization.k8s.io v1 clusterrolebindings ClusterRoleBinding no -
storage.k8s.io v1 storageclasses StorageClass no sc
helm.cattle.io v1 helmcharts HelmChart yes -
helm.cattle.io v1 helmchartconfigs HelmChartConfig yes -
"""

KINDS = tuple(
    Kind("" if group == "-" else group, version, plural, kind, namespaced == "yes", "" if short == "-" else short)
    for group, version, plural, kind, namespaced, short in (line.split() for line in _TABLE.split("\n") if line)
)
_BY_PLURAL = {kind.plural: kind for kind in KINDS}

NODES, NAMESPACES, PODS, EVENTS = (_BY_PLURAL[name] for name in ("nodes", "namespaces", "pods", "events"))
DEPLOYMENTS, DAEMONSETS = _BY_PLURAL["deployments"], _BY_PLURAL["daemonsets"]
STATEFULSETS, JOBS = _BY_PLURAL["statefulsets"], _BY_PLURAL["jobs"]
WITH_PODS = (PODS, DEPLOYMENTS, DAEMONSETS, STATEFULSETS, JOBS)
LEASES, SECRETS, HELMCHARTS = _BY_PLURAL["leases"], _BY_PLURAL["secrets"], _BY_PLURAL["helmcharts"]


def by_path(group: str, version: str, plural: str) -> Kind | None:
    """The kind of a path of the API."""
    kind = _BY_PLURAL.get(plural)
    return kind if kind is not None and (kind.group, kind.version) == (group, version) else None


def by_object(value: dict[str, Any]) -> Kind | None:
    """The kind that an object says it is of."""
    said = (value.get("apiVersion"), value.get("kind"))
    return next((kind for kind in KINDS if (kind.api_version, kind.kind) == said), None)


def by_word(word: str) -> Kind | None:
    """The kind that a user of kubectl means: `po`, `pod`, `pods`, `deployments.apps`, `Deployment`."""
    name = word.partition(".")[0].lower()
    return next((kind for kind in KINDS if name in (kind.plural, kind.kind.lower(), kind.short)), None)


def new_metadata(value: dict[str, Any]) -> None:
    """Give a new object what the API server gives it."""
    metadata = value.setdefault("metadata", {})
    metadata.setdefault("uid", new_uid())
    metadata.setdefault("creationTimestamp", timestamp())
    if "spec" in value:
        metadata.setdefault("generation", 1)


def new_uid() -> str:
    """A random UUID."""
    digits = os.urandom(16).hex()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"
