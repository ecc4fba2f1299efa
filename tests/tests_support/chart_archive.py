"""A Helm chart as `helm package` writes it, with nothing in it but its name and version."""

from __future__ import annotations

import io
import tarfile


def chart(name: str = "till", version: str = "4.2.0") -> bytes:
    """The archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        content = f"name: {name}\nversion: {version}\n".encode()
        member = tarfile.TarInfo(f"{name}/Chart.yaml")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
