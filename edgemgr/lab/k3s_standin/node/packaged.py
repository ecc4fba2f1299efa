"""The components that come with k3s, as manifests, and the images that they need."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# manifest → the objects in it. Names as in k3s' manifests directory.
COMPONENTS = ("coredns", "local-storage", "metrics-server", "traefik")


def images(version: str) -> dict[str, str]:
    """What a release needs, by purpose. The tags follow the Kubernetes minor: an upgrade wants other images."""
    minor = version.split(".")[1]
    return {
        "pause": "docker.io/rancher/mirrored-pause:3.6",
        "coredns": f"docker.io/rancher/mirrored-coredns-coredns:1.12.{minor}",
        "local-path": f"docker.io/rancher/local-path-provisioner:v0.0.{minor}",
        "metrics-server": f"docker.io/rancher/mirrored-metrics-server:v0.8.{minor}",
        "traefik": f"docker.io/rancher/mirrored-library-traefik:3.3.{minor}",
        "klipper-helm": f"docker.io/rancher/klipper-helm:v0.9.{minor}-build20250101",
        "klipper-lb": "docker.io/rancher/klipper-lb:v0.4.13",
        "busybox": "docker.io/rancher/mirrored-library-busybox:1.36.1",
    }


def manifests(version: str) -> dict[str, list[dict[str, Any]]]:
    """Component → its objects."""
    image = images(version)
    return {
        "coredns": [
            workload("Deployment", "coredns", image["coredns"], {"k8s-app": "kube-dns"}),
            _service("kube-dns", {"k8s-app": "kube-dns"}, 53),
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "coredns", "namespace": "kube-system"},
                "data": {"Corefile": ".:53 {\n    errors\n    health\n    ready\n}\n"},
            },
        ],
        "local-storage": [
            workload("Deployment", "local-path-provisioner", image["local-path"], {"app": "local-path-provisioner"}),
            {
                "apiVersion": "storage.k8s.io/v1",
                "kind": "StorageClass",
                "metadata": {
                    "name": "local-path",
                    "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
                },
                "provisioner": "rancher.io/local-path",
            },
        ],
        "metrics-server": [
            workload("Deployment", "metrics-server", image["metrics-server"], {"k8s-app": "metrics-server"}),
            _service("metrics-server", {"k8s-app": "metrics-server"}, 443),
        ],
        "traefik": [
            {
                "apiVersion": "helm.cattle.io/v1",
                "kind": "HelmChart",
                "metadata": {"name": "traefik", "namespace": "kube-system"},
                "spec": {"chart": "https://%{KUBERNETES_API}%/static/charts/traefik.tgz"},
            }
        ],
    }


def chart_objects(version: str) -> dict[str, list[dict[str, Any]]]:
    """Chart → what it installs. Only the packaged one is known."""
    image = images(version)
    labels = {"app.kubernetes.io/name": "traefik"}
    return {
        "traefik": [
            workload("Deployment", "traefik", image["traefik"], labels),
            _service("traefik", labels, 80),
            workload("DaemonSet", "svclb-traefik", image["klipper-lb"], {"app": "svclb-traefik"}),
        ]
    }


def helm_job(name: str, namespace: str, version: str) -> dict[str, Any]:
    """The job that installs a chart."""
    job = workload(
        "Job", f"helm-install-{name}", images(version)["klipper-helm"], {"helmcharts.helm.cattle.io/chart": name}
    )
    job["metadata"]["namespace"] = namespace
    job["spec"]["template"]["spec"]["restartPolicy"] = "OnFailure"
    return job


def workload(kind: str, name: str, image: str, labels: dict[str, str]) -> dict[str, Any]:
    """A workload of one container in kube-system."""
    spec: dict[str, Any] = {
        "selector": {"matchLabels": labels},
        "template": {
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": name, "image": image, "imagePullPolicy": "IfNotPresent"}]},
        },
    }
    if kind == "Deployment":
        spec = {"replicas": 1, **spec}
    return {
        "apiVersion": "batch/v1" if kind == "Job" else "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "kube-system", "labels": labels},
        "spec": spec,
    }


def _service(name: str, selector: dict[str, str], port: int) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "kube-system"},
        "spec": {"type": "ClusterIP", "selector": selector, "ports": [{"port": port}]},
    }
