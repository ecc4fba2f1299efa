"""A claim: a number that was promised, beside the one that was measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Claim:
    """`measured` is compared with `wanted`: at most that much, or at least that much."""

    part: str
    what: str
    measured: float
    wanted: float
    unit: str = ""
    at_least: bool = False

    @property
    def is_kept(self) -> bool:
        return self.measured >= self.wanted if self.at_least else self.measured <= self.wanted

    def row(self) -> str:
        """A row of the table of claims."""
        sign = "≥" if self.at_least else "≤"
        answer = "yes" if self.is_kept else "**no**"
        return (
            f"| {self.part} | {self.what} | {sign} {_number(self.wanted)}{self.unit} "
            f"| {_number(self.measured)}{self.unit} | {answer} |"
        )


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
