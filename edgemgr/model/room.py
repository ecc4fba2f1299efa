"""Room: what may still begin under the limits. A pure rule; the database only counts and reads candidates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice

from edgemgr.model.scope import Scope, ScopePart

ALL = str(Scope(ScopePart.ALL))


@dataclass(frozen=True)
class Candidate:
    """An operation that could begin now, with the labels of its site that limits ask for."""

    operation_id: int
    kind: str
    labels: Mapping[str, str] = field(default_factory=dict)


class Room:
    """Limits beside what runs now. A limit of one value of a label takes the place of the limit of every value."""

    def __init__(self, limits: Mapping[str, int], *, max_running: int) -> None:
        """Take limits by scope; `max_running` is that of the whole appliance unless there is one for `all`."""
        self._most = {ALL: max_running, **limits}
        self._used: Counter[str] = Counter()
        scopes = [Scope.parse(text) for text in limits]
        #: The labels that matter: keys of which any value has a limit.
        self.label_keys = frozenset(scope.key for scope in scopes if scope.part is ScopePart.LABEL)

    def buckets(self, kind: str, labels: Mapping[str, str]) -> list[str]:
        """The limited parts to which an operation belongs, `all` first; of a label always one value."""
        found = [ALL, f"{ScopePart.KIND.value}:{kind}"]
        found += [_bucket(key, labels[key]) for key in sorted(self.label_keys & labels.keys())]
        return [bucket for bucket in found if self.most(bucket) is not None]

    def most(self, bucket: str) -> int | None:
        """How many may run in a part; None where nothing limits it."""
        return self._most.get(self.limit_of(bucket))

    def limit_of(self, bucket: str) -> str:
        """The scope of the limit that holds for a part: its own, or that of every value of its label."""
        return bucket if bucket in self._most else bucket.partition("=")[0]

    def used(self, bucket: str) -> int:
        """How many run in a part."""
        return self._used[bucket]

    def take(self, bucket: str, number: int = 1) -> None:
        """Count what runs."""
        self._used[bucket] += number

    @property
    def limited(self) -> list[str]:
        """Every part in which something runs or that has a limit of its own, in the order of their names."""
        plain = {text for text in self._most if Scope.parse(text).value or Scope.parse(text).part != ScopePart.LABEL}
        return sorted(plain | {bucket for bucket in self._used if self.most(bucket) is not None})

    @property
    def full(self) -> list[Scope]:
        """The parts in which nothing more may begin."""
        return [Scope.parse(bucket) for bucket in self.limited if self._is_full(bucket)]

    def begin(self, candidate: Candidate) -> bool:
        """Take an operation in if every limit allows it; says whether."""
        buckets = self.buckets(candidate.kind, candidate.labels)
        if any(self._is_full(bucket) for bucket in buckets):
            return False
        self._used.update(buckets)
        return True

    def pick(self, candidates: Iterable[Candidate], limit: int) -> list[int]:
        """Take from the front what the limits allow, at most `limit`; returns the operations' numbers."""
        allowed = (candidate.operation_id for candidate in candidates if self.begin(candidate))
        return list(islice(allowed, limit))

    @property
    def free(self) -> int:
        """How many more may begin in the whole appliance."""
        return max(0, self._most[ALL] - self._used[ALL])

    def _is_full(self, bucket: str) -> bool:
        most = self.most(bucket)
        return most is not None and self._used[bucket] >= most


def _bucket(key: str, value: str) -> str:
    return str(Scope(ScopePart.LABEL, key, value))
