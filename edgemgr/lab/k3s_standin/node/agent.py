"""The agent: what runs beside the server on a node, unless --disable-agent: images, the node's own object, its pods."""

from __future__ import annotations

from .built import VERSION
from .containers import Containers
from .images import ImageStore, import_directory
from .pods import Pods

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from .datastore import Datastore
    from .kubelet import Kubelet

_FIRST_THAT_WATCHES_IMAGES = 32  # archives dropped in while running are imported since 1.32.0
_MINOR = int(VERSION.split(".")[1])


class Agent:
    """One node's. It imports what lies in agent/images at once, as k3s does at its start."""

    def __init__(self, store: Datastore, data_dir: Path, kubelet: Kubelet, faults: dict[str, float]) -> None:
        self._directory = data_dir / "agent/images"
        self._faults = faults
        self._images = ImageStore(data_dir)
        import_directory(self._directory, self._images)
        self._archives = _seen(self._directory)
        self._kubelet = kubelet
        self._pods = Pods(store, kubelet, self._images, Containers(data_dir))

    def step(self) -> float:
        """Keep the node's object; the seconds until something of it is due again."""
        return self._kubelet.step(self._faults)

    def move_pods(self) -> bool:
        """Move every pod one step on; true when something is under way."""
        return self._kubelet.ready and self._pods.step(lose_workload=bool(self._faults["lose_workload"]))

    def import_new(self) -> bool:
        """Import archives that were dropped in meanwhile; true when there were any."""
        if _MINOR < _FIRST_THAT_WATCHES_IMAGES or _seen(self._directory) == self._archives:
            return False
        self._archives = _seen(self._directory)
        import_directory(self._directory, self._images)
        return True


def _seen(directory: Path) -> list[tuple[str, int, float]]:
    return sorted((p.name, p.stat().st_size, p.stat().st_mtime) for p in directory.iterdir() if p.is_file())
