"""Where and when something was measured."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path


def describe_machine() -> dict[str, str]:
    """This machine and its programs, now."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    kernel = re.match(r"\d+(\.\d+)*", platform.release())
    ssh = subprocess.run(["ssh", "-V"], capture_output=True, text=True, timeout=10, check=True).stderr
    return {
        "at": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "load": " ".join(f"{each:.2f}" for each in os.getloadavg()),
        "hardware": f"{os.cpu_count()} cores ({model[1] if model else platform.machine()}), {memory:.0f} GiB memory, "
        f"{platform.freedesktop_os_release()['PRETTY_NAME']}, Linux {kernel[0] if kernel else '?'}",
        "programs": f"Python {platform.python_version()}, ansible-core {version('ansible-core')}, ansible-runner "
        f"{version('ansible-runner')}, {ssh.split(',')[0].strip()}",
        "edgemgr": version("edgemgr"),
    }
