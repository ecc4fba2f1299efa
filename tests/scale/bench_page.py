"""docs/benchmarks.md and its picture, written from what was measured; no number in them is typed by hand."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

MIB = 2**20
AT_ONCE = 8  #: stock ansible-runners at the same time
DOCS = Path(__file__).parent.parent.parent / "docs"
PICTURE = "images/bench-bootstrap.svg"
_GREY, _BLUE, _INK = "#9aa3ad", "#1f6feb", "#24292f"

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
    "runner_each": (
        "a stock ansible-runner a site, edgemgr's playbook",
        f"""`ansible_runner.run()` with its defaults and those of ansible-core, one for each site, {AT_ONCE} at a
  time, with the very `bootstrap.yml` of edgemgr, the same inputs, all files over SSH; the key was there""",
    ),
    "small_each": (
        "a stock ansible-runner a site, many small tasks",
        """the same way with `tests/scale/many_small_tasks.yml`: builtin modules, one thing a task, facts gathered,
  as a bootstrap of k3s is usually written; all files over SSH; it checks, refuses and verifies far less""",
    ),
    "small_tuned": (
        "one tuned ansible-runner for a batch, many small tasks",
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


@dataclass(frozen=True)
class Machine:
    """Where and when it was measured."""

    at: datetime
    load: tuple[float, float, float]
    batch_size: int = 0
    forks: int = 0

    @classmethod
    def read(cls) -> Machine:
        return cls(datetime.now(UTC), os.getloadavg())

    def text(self) -> str:
        """The machine and its programs, as bullets."""
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
        model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        system = platform.freedesktop_os_release()["PRETTY_NAME"]
        kernel = re.match(r"\d+(\.\d+)*", platform.release())
        ssh = subprocess.run(["ssh", "-V"], capture_output=True, text=True, timeout=10, check=True).stderr
        load = " ".join(f"{each:.2f}" for each in self.load)
        return f"""\
- {self.at:%Y-%m-%d %H:%M} UTC; load average at the start {load}
- {os.cpu_count()} cores ({model[1] if model else platform.machine()}), {memory:.0f} GiB memory, {system},
  Linux {kernel[0] if kernel else "?"}
- Python {platform.python_version()}, ansible-core {version("ansible-core")}, ansible-runner \
{version("ansible-runner")}, {ssh.split(",")[0].strip()}
- edgemgr {version("edgemgr")} as installed, settings as they come: batches of {self.batch_size}, {self.forks} forks
  each, OpenSSH's own choice of key exchange"""


def write_page(
    ways: Sequence[Way],
    machine: Machine,
    *,
    imported: tuple[float, float],
    release_bytes: int,
    took_s: float,
    is_trial: bool,
) -> None:
    """Print the page, and write it with its picture unless this was a trial."""
    text = _page({way.key: way for way in ways}, machine, imported, release_bytes, took_s)
    sys.stdout.write(text)
    if not is_trial:
        (DOCS / "benchmarks.md").write_text(text)
        draw(ways, DOCS / PICTURE)


def _page(
    ways: dict[str, Way], machine: Machine, imported: tuple[float, float], release_bytes: int, took_s: float
) -> str:
    ordered = [ways[key] for key in WAYS]
    ours = [way for way in ordered if way.is_ours]
    first, staged = ways["first"], ways["staged"]
    rows = [
        f"| {way.name} | {way.sites} | {way.host_tasks:.0f} | {way.sites_per_minute:.0f} | {way.cpu_s_per_site:.2f} "
        f"| {way.nodes_cpu_s / way.sites:.2f} | {way.memory_bytes / MIB:.0f} | {way.others_cpu_s / way.wall_s:.2f} |"
        for way in ordered
    ]
    ratios = [
        f"| {way.name} | {way.cpu_s_per_site / first.cpu_s_per_site:.1f} "
        f"| {way.cpu_s_per_site / staged.cpu_s_per_site:.1f} | {first.sites_per_minute / way.sites_per_minute:.1f} |"
        for way in ordered
        if not way.is_ours
    ]
    shares = [
        f"- {way.name}: {way.cpu_s_per_site:.3f} s a site, of which edgemgr's own process takes "
        f"{way.own_cpu_s / way.sites:.3f} s; the rest is Ansible, its ssh clients, and the command that waits."
        for way in ours
    ]
    meaning = [f"- **{way.name}**: {WAYS[way.key][1]}." for way in ordered]
    bytes_s = first.cpu_s_per_site - staged.cpu_s_per_site
    newline = "\n"
    return f"""\
# Benchmarks

## Bootstrapping many sites

What it costs one small machine to bring k3s to many sites, beside what one could do without edgemgr. This page and
its picture are written by `make bench-bootstrap` (as root or with sudo; this run took {took_s / 60:.0f} minutes), which
does it all in one run. `sudo .venv/bin/python tests/scale/bench_bootstrap.py --sites 10 --sample 3` is a quick trial
that only prints.

{machine.text()}

![Controller CPU, rate and memory of each way]({PICTURE})

| way | sites | host-tasks a site | sites/min | controller CPU s a site | sites' CPU s a site | peak MiB | others |
|---|--:|--:|--:|--:|--:|--:|--:|
{newline.join(rows)}

How many times edgemgr's controller CPU the others take, against both of its figures, and how many times as fast the
first contact is:

| way | CPU, first contact = 1 | CPU, files already there = 1 | first contact is faster by |
|---|--:|--:|--:|
{newline.join(ratios)}

What was done:

{newline.join(meaning)}

After each of edgemgr's three rounds all {first.sites} sites were healthy, or there would be no page; every other run
ended as successful.

Where edgemgr's CPU goes:

{newline.join(shares)}
- The bytes ({release_bytes / MIB:.0f} MiB a site) and the first login cost {bytes_s:.3f} s a site: first contact less \
files already there.
- Importing the CSV of {first.sites} sites took {imported[0]:.1f} s and {imported[1]:.1f} s of CPU, once; it is in no
  other figure.

How to read it:

- *Controller CPU* is user and system time of everything that ran on the appliance's side (its process, Ansible's, every
  ssh, the command that waits), ended or not, by a control group's account. *Peak MiB* is the largest sum of their
  proportional set sizes, looked at every half second, without the command that waits.
- The sites share the machine with the controller: *sites/min* is what both manage together on these cores, and falls
  short of what such a controller reaches when sites have processors of their own. *Sites' CPU* is what all sites used
  meanwhile, also those that were not at work.
- *Others* is how many processors everything else on the machine kept busy meanwhile. Times waver by a tenth or two
  between runs, more where others work; ratios within one run hold better.
- k3s is a **stand-in** here: {release_bytes / MIB:.0f} MiB of files, where a real release has some 250, and it is up
  within seconds. On real sites more bytes travel and more time passes; tasks and connections stay the same.
- The sites are the lab's light ones: a real sshd, sudo and Python, and a stand-in for systemd.
"""


def draw(ways: Sequence[Way], path: Path) -> None:
    """The picture: three rows of bars that share their names."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    mpl.rcParams.update(
        {"svg.fonttype": "none", "svg.hashsalt": "edgemgr", "font.size": 9, "font.family": "sans-serif"}
    )
    by_key = {way.key: way for way in ways}
    ordered = [by_key[key] for key in WAYS][::-1]
    panels = (
        ("controller CPU, seconds a site\n(less is better)", [way.cpu_s_per_site for way in ordered], "{:.2f}"),
        ("sites per minute\n(more is better)", [way.sites_per_minute for way in ordered], "{:.0f}"),
        ("peak memory, MiB\n(less is better)", [way.memory_bytes / MIB for way in ordered], "{:.0f}"),
    )
    colours = [_BLUE if way.is_ours else _GREY for way in ordered]
    figure, axes = plt.subplots(1, 3, sharey=True, figsize=(10, 3.4), layout="constrained")
    for axis, (title, values, form) in zip(axes, panels, strict=True):
        bars = axis.barh([_folded(way) for way in ordered], values, color=colours, height=0.62)
        axis.bar_label(bars, [form.format(value) for value in values], padding=3, color=_INK)
        axis.set_title(title, fontsize=9, color=_INK)
        axis.set_xlim(0, max(values) * 1.22)
        axis.set_xticks([])
        axis.tick_params(left=False)
        axis.spines[:].set_visible(False)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _folded(way: Way) -> str:
    head, comma, rest = way.name.partition(", ")
    return f"{head}{comma.strip()}\n{rest} ({way.sites} sites)"
