"""The page's section on bootstrapping, and its picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bootstrap_way import AT_ONCE, WAYS, Way
from claim import Claim
from picture import bars, picture
from record import DOCS

PICTURE = "images/bench-bootstrap.svg"
MIB = 2**20
_FAKED_MEANING = {
    "first": """`edgemgr bootstrap --all --wait` with the first login by password and installing a key of the site's
  own""",
    "again": """the same once more, with the key there: the bootstrap itself, with OpenSSH's own choice of key
  exchange""",
    "fast": WAYS["fast"][1],
    "small_each": f"""`ansible_runner.run()` with its defaults and those of ansible-core, one for each site, {AT_ONCE}
  at a time, with `tests/scale/many_small_tasks.yml`: builtin modules, one thing a task, facts gathered, as a bootstrap
  of k3s is usually written; files of a few bytes, the key was there""",
}
_FAKED_NAME = {"again": "edgemgr, with its key there"}


def claims(result: Mapping[str, Any]) -> list[Claim]:
    """What was promised of a bootstrap; of nodes that are faked alike, the transfer of bytes apart."""
    faked = _by_key(result["faked"])
    ours, stock = faked["again"], faked["small_each"]
    memory = max(way.memory_bytes for way in faked.values() if way.is_ours)
    faster = ours.sites_per_minute / stock.sites_per_minute
    return [
        Claim("bootstrap", "controller CPU a site in batches, seconds", ours.cpu_s_per_site, 0.16),
        Claim("bootstrap", "sites a minute, times those of a stock ansible-runner a site", faster, 25, at_least=True),
        Claim("bootstrap", f"peak memory with {ours.sites} sites under way, MiB", memory / MIB, 600_000_000 / MIB),
    ]


def section(result: Mapping[str, Any]) -> str:
    """Faked nodes first: they carry the claims."""
    faked, real = _by_key(result["faked"]), _by_key(result["real"])
    head = f"""\
## Bootstrapping many sites

What it costs one small machine to bring k3s to many sites, beside what one could do without edgemgr. Settings as they
come: batches of {result["batch_size"]}, {result["forks"]} forks each.

### The controller's side: nodes faked alike

Every site has a real sshd, login and sudo; its Python is a script that swallows the module and prints a canned result,
for edgemgr and for all others alike. So the numbers are the controller's, and no bytes travel.

{_table(faked, _FAKED_NAME)}

- With OpenSSH's own choice of key exchange a site costs \
{faked["again"].cpu_s_per_site / faked["fast"].cpu_s_per_site:.1f} times as much as with curve25519 alone
  (`ssh_fast_kex`): {faked["again"].cpu_s_per_site:.3f} s against {faked["fast"].cpu_s_per_site:.3f} s.
- One fat task alone, without a queue, a database and a console, was once measured on such a machine at 0.08 s a site
  and about 50 times the sites a minute, with the quick key exchange. Here, with all of that, it is
  {faked["fast"].cpu_s_per_site:.3f} s and {_faster(faked, "fast"):.0f} times with the quick key exchange,
  {faked["again"].cpu_s_per_site:.3f} s and {_faster(faked, "again"):.0f} times without it.
- edgemgr's own process takes {faked["again"].own_cpu_s / faked["again"].sites:.3f} s of a site's \
{faked["again"].cpu_s_per_site:.3f} s; the rest is Ansible, its ssh clients, and the command that waits.

![Controller CPU, rate and memory of each way, nodes faked alike]({PICTURE})

{_meanings(faked, _FAKED_NAME, _FAKED_MEANING)}
"""
    return head + (_real(result, real) if real else "")


def draw(result: Mapping[str, Any]) -> None:
    """Three rows of bars that share their names."""
    ways = [Way(**way) for way in result["faked"]]
    names = [_folded(_FAKED_NAME.get(way.key, way.name), way.sites) for way in ways]
    ours = [way.is_ours for way in ways]
    with picture(DOCS / PICTURE, 3, (10, 3.0), share_names=True) as axes:
        titles = ("controller CPU, seconds a site\n(less is better)", "sites per minute\n(more is better)",
                  "peak memory, MiB\n(less is better)")  # fmt: skip
        values = ([way.cpu_s_per_site for way in ways], [way.sites_per_minute for way in ways],
                  [way.memory_bytes / MIB for way in ways])  # fmt: skip
        for axis, title, row, form in zip(axes, titles, values, ("{:.2f}", "{:.0f}", "{:.0f}"), strict=True):
            axis.set_title(title)
            bars(axis, names, row, form, ours)


def _real(result: Mapping[str, Any], ways: Mapping[str, Way]) -> str:
    first, staged = ways["first"], ways["staged"]
    bytes_s = first.cpu_s_per_site - staged.cpu_s_per_site
    mib = result["release_bytes"] / MIB
    return f"""
### Real nodes on the same machine

{_table(ways, {})}

{_meanings(ways, {}, {})}

- After each of edgemgr's rounds all {first.sites} sites were healthy, or there would be no page; every other run ended
  as successful.
- The bytes ({mib:.0f} MiB a site) and the first login cost {bytes_s:.3f} s a site: first contact less files already
  there.
- Importing the CSV of {first.sites} sites took {result["import"]["cpu_s"]:.1f} s of CPU, once; it is in no other
  figure.

How to read both tables:

- *Controller CPU* is user and system time of everything that ran on the appliance's side (its process, Ansible's, every
  ssh, the command that waits), ended or not, by a control group's account. *Peak MiB* is the largest sum of their
  proportional set sizes, looked at every half second, without the command that waits.
- The sites share the machine with the controller: *sites/min* is what both manage together on these cores. *Sites' CPU*
  is what all sites used meanwhile, also those that were not at work.
- *Others* is how many processors everything else on the machine kept busy meanwhile.
- k3s is a **stand-in** here: {mib:.0f} MiB of files, where a real release has some 250, and it is up within seconds. On
  real sites more bytes travel and more time passes; tasks and connections stay the same.
- The sites are the lab's light ones: a real sshd, sudo and Python, and a stand-in for systemd.
"""


def _table(ways: Mapping[str, Way], names: Mapping[str, str]) -> str:
    rows = [
        f"| {names.get(way.key, way.name)} | {way.sites} | {way.host_tasks:.0f} | {way.sites_per_minute:.0f} "
        f"| {way.cpu_s_per_site:.3f} | {way.nodes_cpu_s / way.sites:.2f} | {way.memory_bytes / MIB:.0f} "
        f"| {way.others_cpu_s / way.wall_s:.2f} |"
        for way in ways.values()
    ]
    return (
        "| way | sites | host-tasks a site | sites/min | controller CPU s a site | sites' CPU s a site | peak MiB "
        "| others |\n|---|--:|--:|--:|--:|--:|--:|--:|\n" + "\n".join(rows)
    )


def _meanings(ways: Mapping[str, Way], names: Mapping[str, str], said: Mapping[str, str]) -> str:
    return "\n".join(
        f"- **{names.get(way.key, way.name)}**: {said.get(way.key, WAYS[way.key][1])}." for way in ways.values()
    )


def _faster(ways: Mapping[str, Way], key: str) -> float:
    return ways[key].sites_per_minute / ways["small_each"].sites_per_minute


def _by_key(ways: Sequence[Mapping[str, Any]]) -> dict[str, Way]:
    found = {way["key"]: Way(**way) for way in ways}
    return {key: found[key] for key in WAYS if key in found}


def _folded(name: str, sites: int) -> str:
    head, comma, rest = name.partition(", ")
    return f"{head}{comma.strip()}\n{rest} ({sites} sites)"
