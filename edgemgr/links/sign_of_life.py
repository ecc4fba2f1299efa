"""A sign of life: whether a site that lets us in also carries out a command.

A host whose disk has died still greets and accepts logins, and then answers nothing. Found here it costs 4 ms of CPU
and no fork of Ansible; found there it would hold a fork until the time of its attempt is over.
"""

from __future__ import annotations

import time
from dataclasses import replace

from edgemgr.errors import SiteUnreachableError
from edgemgr.links.ssh import connect
from edgemgr.model.target import Target


def require_life(target: Target, *, timeout_s: float) -> Target:
    """Log in and have a word echoed; nothing is changed at the site. Returns the target with the time the word took.

    Not the login's: with a dozen at once most of that is this machine's own computing.

    Raises:
        SiteError: as `links.ssh.connect`.
        SiteUnreachableError: logged in, and then nothing came (E-SITE-HANGS).
    """
    with connect(target, timeout_s=timeout_s) as connection:
        began = time.monotonic()
        try:
            # Not `true`: it may be gone before our end of its input is closed, which looks like a lost connection.
            connection.run("cat", stdin="alive", timeout_s=timeout_s)
        except SiteUnreachableError as exc:
            raise SiteUnreachableError(
                f"{target.name} lets us in, but carries out no command within {timeout_s:g} s",
                hint="Look at its disk and its load: a node like that often needs a reboot.",
                code="E-SITE-HANGS",
            ) from exc
    return replace(target, answers_in_s=time.monotonic() - began)
