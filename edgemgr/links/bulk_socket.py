"""How the operating system sends many bytes over a bad link: settings of the socket below an SSH connection.

The sender alone decides on both, so that nothing has to be set on a site.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import paramiko

#: Loss-based control (cubic, reno) reads loss as congestion: at 1 % loss and 100 ms a connection comes to some
#: 1.5 Mbit/s however wide the link is (Mathis et al. 1997: rate = 1.22 x segment / (round trip x root of loss)).
#: BBR measures rate and round trip instead (Cardwell et al. 2016).
_CONGESTION_CONTROL = b"bbr"
#: Linux keeps up to megabytes that were not even sent yet; a cut loses them, and a keystroke waits behind them.
_NOT_SENT_BYTES = 128 * 1024


def prepare(transport: paramiko.Transport) -> None:
    """Ask for both at the connection that leaves this machine; a kernel that does not know them stays as it is."""
    outermost = transport.sock
    while (through := getattr(outermost, "get_transport", None)) is not None:  # a channel of a jump host
        outermost = through().sock
    if isinstance(outermost, socket.socket):
        for option, value in (
            (socket.TCP_CONGESTION, _CONGESTION_CONTROL),
            (socket.TCP_NOTSENT_LOWAT, _NOT_SENT_BYTES),
        ):
            with suppress(OSError):
                outermost.setsockopt(socket.IPPROTO_TCP, option, value)
