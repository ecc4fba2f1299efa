"""What the builder writes anew for each release; these values stand when the program runs from its sources."""

from __future__ import annotations

VERSION = "v1.33.5+k3s1"
COMMIT = "00000000"
BAKED_FAULTS: dict[str, float] = {}
PADDING_BYTES = 1 << 16
