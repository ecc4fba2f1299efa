"""Kubeconfig files: the administrator's, and reading one for `k3s kubectl`."""

from __future__ import annotations

import base64
import os
import ssl

from .environment import KUBECONFIG, below_root, write_private
from .journal import log
from .yaml_subset import documents

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

_TEXT = """apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: {authority}
    server: https://127.0.0.1:{port}
  name: default
contexts:
- context:
    cluster: default
    user: default
  name: default
current-context: default
kind: Config
preferences: {{}}
users:
- name: default
  user:
    client-certificate-data: {certificate}
    client-key-data: {key}
"""


def write_kubeconfig(tls_dir: Path, port: int, target: str, mode: str) -> None:
    """Write the administrator's kubeconfig, at every start, as k3s does.

    Args:
        tls_dir: `server/tls`.
        port: of the API.
        target: the path that was configured, or an empty text.
        mode: as configured, in octal digits.
    """
    path = below_root(target or KUBECONFIG)
    text = _TEXT.format(
        authority=_encoded(tls_dir / "server-ca.crt"),
        port=port,
        certificate=_encoded(tls_dir / "client-admin.crt", tls_dir / "client-ca.crt"),
        key=_encoded(tls_dir / "client-admin.key"),
    )
    write_private(path, text, int(mode or "600", 8))
    log("info", f"Wrote kubeconfig {path}")


def _encoded(*paths: Path) -> str:
    return base64.b64encode(b"".join(path.read_bytes() for path in paths)).decode()


class Access:
    """Where the API is, and the TLS context that lets us in."""

    def __init__(self, path: Path) -> None:
        """Read a kubeconfig.

        Raises:
            OSError: it is not there or cannot be read.
        """
        content = documents(path.read_text())[0]
        cluster = content["clusters"][0]["cluster"]
        user = content["users"][0]["user"]
        self.server = str(cluster["server"]).removeprefix("https://")
        self.context = ssl.create_default_context(
            cadata=base64.b64decode(cluster["certificate-authority-data"]).decode()
        )
        # OpenSSL loads a key from a file only: one in memory, that no other process sees.
        both = base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"])
        memory = os.memfd_create("client", os.MFD_CLOEXEC)
        try:
            os.write(memory, both)
            self.context.load_cert_chain(f"/proc/self/fd/{memory}")
        finally:
            os.close(memory)
