"""A service of a light site: its file, its options, and the state that its supervisor tells.

The supervisor holds the lock /run/light-systemd/UNIT/lock for as long as it lives, and writes state.json beside it.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shlex
from pathlib import Path

UNIT_DIRS = (Path("/etc/systemd/system"), Path("/run/systemd/system"))
STATE_DIR = Path("/run/light-systemd")
LOG_DIR = Path("/var/log/light-journal")
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
UNITS_OF_TIME = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


VARIABLE = re.compile(r"\$\$|\$\{(\w+)\}")


def _fill(found: re.Match[str], variables: dict[str, str]) -> str:
    return "$" if found[0] == "$$" else variables.get(found[1], "")


def seconds(text: str) -> float:
    """Read a time span as in systemd.time(7): `90`, `1min 30s`, `infinity`."""
    if text == "infinity":
        return float("inf")
    parts = re.findall(r"([0-9.]+)\s*([a-z]*)", text)
    return sum(float(number) * UNITS_OF_TIME[unit or "s"] for number, unit in parts)


class Unit:
    """A service: its file, its options, its state on disk."""

    def __init__(self, name: str) -> None:
        self.name = name if "." in name else f"{name}.service"
        self.path = next((d / self.name for d in UNIT_DIRS if (d / self.name).exists()), None)
        self.options: dict[str, list[str]] = {}
        if self.path is not None:
            drop_ins = sorted(p for d in UNIT_DIRS for p in (d / f"{self.name}.d").glob("*.conf"))
            for path in [self.path, *drop_ins]:
                self._read(path.read_text())
        self.state_dir = STATE_DIR / self.name
        self.log = LOG_DIR / f"{self.name}.log"

    def _read(self, text: str) -> None:
        section = ""
        for line in text.replace("\\\n", " ").splitlines():
            line = line.strip()  # noqa: PLW2901
            if line.startswith("["):
                section = line.strip("[]")
            elif "=" in line and line[0] not in "#;":
                key, _, value = line.partition("=")
                values = self.options.setdefault(f"{section}.{key.strip()}", [])
                if value.strip():
                    values.append(value.strip().replace("%n", self.name).replace("%%", "%"))
                else:
                    values.clear()  # an empty assignment forgets what came before

    def option(self, key: str, default: str = "") -> str:
        """Return the last value of an option of [Service]."""
        values = self.options.get(f"Service.{key}", [])
        return values[-1] if values else default

    def commands(self, key: str) -> list[tuple[list[str], bool]]:
        """Return the commands of an Exec option, with variables filled in, and whether each may fail."""
        variables = self.environment()
        found = []
        for line in self.options.get(f"Service.{key}", []):
            words = shlex.split(line.lstrip("-@+!:"))
            filled = []
            for word in words:
                if re.fullmatch(r"\$\w+", word):  # a bare variable becomes as many words as it holds
                    filled += variables.get(word[1:], "").split()
                else:
                    filled.append(VARIABLE.sub(lambda found: _fill(found, variables), word))
            found.append((filled, "-" in line[: len(line) - len(line.lstrip("-@+!:"))]))
        return found

    def environment(self) -> dict[str, str]:
        """Return what the service's processes see."""
        variables = dict(ENVIRONMENT)
        for line in self.options.get("Service.Environment", []):
            variables.update(part.partition("=")[::2] for part in shlex.split(line))
        for name in self.options.get("Service.EnvironmentFile", []):
            path = Path(name.lstrip("-"))
            if path.exists() or not name.startswith("-"):
                lines = [line.strip() for line in path.read_text().splitlines()]
                pairs = (line.partition("=")[::2] for line in lines if "=" in line and line[0] not in "#;")
                variables.update((key, " ".join(shlex.split(value))) for key, value in pairs)
        return variables

    def state(self) -> dict[str, str]:
        """Read what the supervisor wrote last; a supervisor that was killed has left a failed service."""
        try:
            known: dict[str, str] = json.loads((self.state_dir / "state.json").read_text())
        except FileNotFoundError:
            return {
                "ActiveState": "inactive",
                "SubState": "dead",
                "MainPID": "0",
                "NRestarts": "0",
                "Result": "success",
                "Job": "done",
            }
        if known["ActiveState"] not in ("inactive", "failed") and not self.is_supervised():
            known.update(ActiveState="failed", SubState="failed", MainPID="0", Result="signal", Job="failed")
        return known

    def write_state(self, state: dict[str, str]) -> None:
        """Tell everybody."""
        beside = self.state_dir / "state.json.new"
        beside.write_text(json.dumps(state))
        beside.replace(self.state_dir / "state.json")

    def lock(self) -> int | None:
        """Take the lock of a supervisor, held for as long as the handle is open; None while a supervisor lives."""
        self.state_dir.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.state_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return None
        return handle

    def is_supervised(self) -> bool:
        """Whether a supervisor lives."""
        handle = self.lock()
        if handle is not None:
            os.close(handle)
        return handle is None

    @property
    def is_transient(self) -> bool:
        """Whether systemd-run made it."""
        return self.path is not None and self.path.parent == UNIT_DIRS[1]

    @property
    def collects(self) -> bool:
        """Whether a failure is forgotten at once too."""
        return self.options.get("Unit.CollectMode", [])[-1:] == ["inactive-or-failed"]

    def wants(self) -> list[Path]:
        """Return the links that enable it."""
        targets = " ".join(self.options.get("Install.WantedBy", [])).split()
        return [UNIT_DIRS[0] / f"{target}.wants" / self.name for target in targets]

    def file_state(self) -> str:
        """UnitFileState as `systemctl is-enabled` prints it."""
        if self.path is None:
            return ""
        if self.is_transient:
            return "transient"
        if not self.wants():
            return "static"
        return "enabled" if all(link.is_symlink() for link in self.wants()) else "disabled"
