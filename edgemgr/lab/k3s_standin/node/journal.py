"""Log lines in the form that k3s writes (logrus), on standard error; and the error that ends the program."""

from __future__ import annotations

import json
import sys
import time


class FatalError(Exception):
    """The program cannot go on; the message is logged and the exit status is 1."""


def log(level: str, message: str) -> None:
    """Write one line: level is info, warning, error or fatal."""
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    sys.stderr.write(f'time="{at}" level={level} msg={json.dumps(message, ensure_ascii=False)}\n')
    sys.stderr.flush()


def timestamp(seconds: float | None = None) -> str:
    """A time as Kubernetes writes it, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
