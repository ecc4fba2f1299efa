"""Throughput: how fast a site takes bytes, learnt from its own history, and how long the rest lasts. A pure rule."""

from __future__ import annotations

import math
from dataclasses import dataclass

#: A sample of this length moves the estimate by half of the way; shorter ones by less.
_HALF_S = 30.0
#: No sample moves it by more than this part of the way.
_MAX_PART = 0.5
#: The least uncertainty of an estimate, as a spread of the logarithm: a link is never known better than to 5 %.
_MIN_SPREAD = 0.05
#: A sample farther off than this many spreads (or a factor of two) counts as if it were that far off: a stall
#: is not the link's rate, but a link that has really become slower is followed within some samples.
_FAR_SPREADS = 2.0
_FAR = math.log(2.0)
#: The range of an ETA covers about 80 of 100 cases (normal distribution of the logarithm).
_RANGE_SPREADS = 1.28


@dataclass(frozen=True)
class Eta:
    """Seconds until the rest has come: likely, and a range that holds in about 80 of 100 cases."""

    soon_s: float
    likely_s: float
    late_s: float


@dataclass(frozen=True)
class Throughput:
    """Estimate of a site's rate: an exponentially weighted mean of the logarithm of rates, and its variance.

    The logarithm, because rates differ by factors: half as fast and twice as fast are equally far away.
    """

    log_mean: float  #: natural logarithm of bytes per second
    log_variance: float

    @classmethod
    def first(cls, sent_bytes: int, elapsed_s: float) -> Throughput | None:
        """Begin with a first sample; None when nothing was sent in it."""
        if sent_bytes <= 0 or elapsed_s <= 0:
            return None
        return cls(math.log(sent_bytes / elapsed_s), _FAR**2)

    def seen(self, sent_bytes: int, elapsed_s: float) -> Throughput:
        """Learn from one more sample. One in which nothing was sent tells about the outage, not about the rate."""
        if sent_bytes <= 0 or elapsed_s <= 0:
            return self
        part = min(_MAX_PART, 1.0 - 0.5 ** (elapsed_s / _HALF_S))
        far = max(_FAR, _FAR_SPREADS * math.sqrt(self.log_variance))
        off = math.log(sent_bytes / elapsed_s) - self.log_mean
        off = max(-far, min(far, off))
        return Throughput(
            log_mean=self.log_mean + part * off,
            log_variance=(1.0 - part) * (self.log_variance + part * off * off),
        )

    @property
    def rate_bytes_s(self) -> float:
        """The likely rate, in bytes per second."""
        return math.exp(self.log_mean)

    def eta(self, remaining_bytes: int, *, cap_bytes_s: float | None = None) -> Eta:
        """How long that many bytes will last, without times in which the link is down or the window closed.

        `cap_bytes_s` is the limit that is set for the site now, if there is one.
        """
        spread = _RANGE_SPREADS * max(_MIN_SPREAD, math.sqrt(self.log_variance))
        return Eta(
            soon_s=_seconds(remaining_bytes, self.log_mean + spread, cap_bytes_s),
            likely_s=_seconds(remaining_bytes, self.log_mean, cap_bytes_s),
            late_s=_seconds(remaining_bytes, self.log_mean - spread, cap_bytes_s),
        )


def _seconds(number_bytes: int, log_rate: float, cap_bytes_s: float | None) -> float:
    rate = math.exp(log_rate)
    return max(0, number_bytes) / (rate if cap_bytes_s is None else min(rate, cap_bytes_s))
