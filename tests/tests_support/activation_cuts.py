"""Cutting an activation off: at the n-th thing that it does to the disk or to systemd, in three ways.

`killed`: the process is gone, the node lives. `rebooted`: the node went down in order and comes up. `power`: the node
is dark at once, and what was not synced is lost: a rename may not have happened, a file may be half there.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests_support.activation_machine import Machine

KINDS = ("killed", "rebooted", "power")


class Killed(BaseException):
    """What SIGKILL looks like from inside."""


class Disk:
    """Counts what is done, dies at one of them, and knows what would have survived."""

    def __init__(self, root: Path, machine: Machine, die_at: int) -> None:
        self.root, self.machine, self.die_at, self.count = root, machine, die_at, 0
        self._synced = {self._key(path.stat()): path.stat().st_size for path in self._files()}
        self._stamp = {self._key(path.stat()): path.stat().st_mtime_ns for path in self._files()}
        self._pending: list[tuple[str, str, str, bytes | None]] = []
        machine.at_effect = self.border

    def install(self, patch: pytest.MonkeyPatch) -> None:
        for name in ("rename", "unlink", "fsync", "write"):
            patch.setattr(os, name, getattr(self, name)(getattr(os, name)))
        for name in ("symlink", "link", "mkdir"):
            patch.setattr(os, name, self._counted(getattr(os, name)))

    def border(self) -> None:
        self.count += 1
        if self.count == self.die_at:
            raise Killed

    def rename(self, real: Callable[..., None]) -> Callable[..., None]:
        def call(source: str, target: str) -> None:
            self.border()
            before = Path(target).read_bytes() if os.path.isfile(target) and not os.path.islink(target) else None  # noqa: PTH113, PTH114
            link = os.readlink(target) if os.path.islink(target) else ""  # noqa: PTH114, PTH115
            real(source, target)
            self._pending.append(("link:" + link if link else "rename", str(source), str(target), before))
            self.border()

        return call

    def unlink(self, real: Callable[..., None]) -> Callable[..., None]:
        def call(path: Any, **more: Any) -> None:
            if more or isinstance(path, int):
                real(path, **more)
                return
            self.border()
            content = Path(path).read_bytes() if os.path.isfile(path) else None  # noqa: PTH113
            real(path)
            self._pending.append(("unlink", str(path), str(path), content))

        return call

    def fsync(self, _real: Callable[..., None]) -> Callable[..., None]:
        def call(descriptor: int) -> None:
            self.border()
            status = os.fstat(descriptor)
            path = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115
            if os.path.isdir(path):  # noqa: PTH112
                self._pending = [each for each in self._pending if os.path.dirname(each[2]) != path]  # noqa: PTH120
            else:
                self._synced[self._key(status)] = status.st_size
                self._stamp[self._key(status)] = status.st_mtime_ns
            self.border()

        return call

    def write(self, real: Callable[..., int]) -> Callable[..., int]:
        def call(descriptor: int, content: bytes) -> int:
            self.count += 1
            if self.count == self.die_at:
                real(descriptor, content[: len(content) // 2])
                raise Killed
            return real(descriptor, content)

        return call

    def cut_power(self) -> None:
        """Undo what was not durable."""
        for path in self._files():
            status = path.stat()
            key = self._key(status)
            if key in self.machine.trusted:
                continue
            if self._stamp.get(key) != status.st_mtime_ns or self._synced.get(key) != status.st_size:
                kept = min(self._synced.get(key, 0), status.st_size)
                os.truncate(path, kept + (status.st_size - kept) // 2)
        for kind, source, target, before in reversed(self._pending):
            if kind == "unlink":
                if before is not None and not os.path.lexists(target) and Path(target).parent.is_dir():
                    Path(target).write_bytes(before)
            elif os.path.lexists(target) and not os.path.lexists(source) and Path(source).parent.is_dir():
                Path(target).rename(source)
                if kind.startswith("link:"):
                    Path(target).symlink_to(kind[5:])
                elif before is not None:
                    Path(target).write_bytes(before)
        self._pending.clear()

    def _counted(self, real: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: Any, **more: Any) -> None:
            self.border()
            real(*arguments, **more)

        return call

    def _files(self) -> list[Path]:
        return [path for path in self.root.rglob("*") if path.is_file() and not path.is_symlink()]

    @staticmethod
    def _key(status: os.stat_result) -> tuple[int, int]:
        return status.st_dev, status.st_ino


def empty(root: Path) -> None:
    """Nothing of the last run."""
    shutil.rmtree(root)
    root.mkdir()


def run_cut(
    root: Path, machine: Machine, die_at: int, kind: str, go_on: Callable[[bool], None], *, is_resumed: bool = False
) -> tuple[bool, int]:
    """Run `go_on(is_resumed)` and cut it off; whether it was, and how many moments there were for it.

    Afterwards the node is as the program finds it when it comes again.
    """
    disk = Disk(root, machine, die_at)
    with pytest.MonkeyPatch.context() as patch:
        disk.install(patch)
        try:
            go_on(is_resumed)
        except Killed:
            was_cut = True
        else:
            was_cut = False
    machine.at_effect = lambda: None
    if was_cut:
        machine.deadline = float("inf")
        if kind != "killed":
            machine.go_down()
            if kind == "power":
                disk.cut_power()
            machine.boot()
    return was_cut, disk.count
