"""The ways to bootstrap many sites, and what each came to."""

from __future__ import annotations

from dataclasses import dataclass

AT_ONCE = 8  #: stock ansible-runners at the same time

#: key → short name, and what exactly was done.
WAYS = {
    "first": (
        "edgemgr, first contact",
        """`edgemgr bootstrap --all --wait` on bare sites: the first login with a password, installing a key of the
  site's own, all files over SSH, k3s up and verified""",
    ),
    "staged": (
        "edgemgr, files already there",
        """the same on sites that are bare again (`edgemgr reset`) but hold the files in their content store:
  without the bytes and without the first login""",
    ),
    "again": ("edgemgr, nothing to do", "the same once more on running sites: looked at, compared, verified"),
    "fast": ("edgemgr, quick key exchange", "the same with `ssh_fast_kex`: curve25519 without the post-quantum part"),
    "runner_each": (
        "a stock ansible-runner a site, edgemgr's playbook",
        f"""`ansible_runner.run()` with its defaults and those of ansible-core, one for each site, {AT_ONCE} at a
  time, with the very `bootstrap.yml` of edgemgr, the same inputs, all files over SSH; the key was there""",
    ),
    "small_each": (
        "a stock ansible-runner a site, small tasks",
        """the same way with `tests/scale/many_small_tasks.yml`: builtin modules, one thing a task, facts gathered,
  as a bootstrap of k3s is usually written; all files over SSH; it checks, refuses and verifies far less""",
    ),
    "small_tuned": (
        "one tuned ansible-runner for a batch, small tasks",
        """one `ansible_runner.run()` for all of them with the many small tasks, as many forks as edgemgr, pipelining,
  no compression, the interpreter given""",
    ),
}


@dataclass(frozen=True)
class Way:
    """One way to do it, measured. Times in seconds of all its sites together."""

    key: str
    sites: int
    wall_s: float
    cpu_s: float
    nodes_cpu_s: float
    others_cpu_s: float
    memory_bytes: int
    host_tasks: float
    own_cpu_s: float

    @property
    def name(self) -> str:
        return WAYS[self.key][0]

    @property
    def is_ours(self) -> bool:
        return self.name.startswith("edgemgr")

    @property
    def sites_per_minute(self) -> float:
        return self.sites / self.wall_s * 60

    @property
    def cpu_s_per_site(self) -> float:
        return self.cpu_s / self.sites
