"""The page's section on a stage over a bad link, and its picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from claim import Claim
from picture import BLUE, FAINT, GREY, INK, ORANGE, picture, plain
from record import DOCS
from stage_way import WAYS

PICTURE = "images/bench-stage.svg"
MB, MIB = 1e6, 2**20
_LINES = {
    "edgemgr": (BLUE, "-"),
    "rsync_bbr": (ORANGE, "-"),
    "rsync": (ORANGE, ":"),
    "scp": (GREY, "-"),
    "copy": (INK, ":"),
}


def claims(result: Mapping[str, Any]) -> list[Claim]:
    """What was promised of a stage."""
    ours = _ours(result)
    cuts = [cut for cut in result["cuts_made"] if cut["down_s"]]
    worst = max(cut["lost_bytes"] for cut in result["cuts_made"])
    wrong = result["wrong_files"]
    return [
        Claim("stage", "cuts, beside one kill -9 of the worker, in one stage", len(cuts), 20, at_least=True),
        Claim("stage", f"of {result['files']} files at the site, those with another digest", wrong, 0),
        Claim("stage", "sent for nothing at a cut, the worst of all, MiB", worst / MIB, 4),
        Claim(
            "stage", "bytes on the link beyond the size, both ways, %", 100 * (_both(ours) / ours["size_bytes"] - 1), 10
        ),
    ]


def section(result: Mapping[str, Any]) -> str:
    """What was done, how each way fared, and where edgemgr's bytes went."""
    quality, ours = result["quality"], _ours(result)
    cuts = [cut for cut in result["cuts_made"] if cut["down_s"]]
    down = [cut["down_s"] for cut in cuts]
    rows = "\n".join(_row(way, result) for way in result["ways"])
    meanings = "\n".join(f"- **{name}**: {text}." for _, name, text in WAYS.values())
    return f"""\
## Staging over a bad link

{ours["size_bytes"] / MB:.0f} MB of a bundle's content go to a site over a lab link of {quality["rate_mbit"]:.0f} \
Mbit/s, {2 * quality["delay_ms"]:.0f} ms round trip and {quality["loss_percent"]:g} % loss each way. It is
cut {len(cuts)} times, at random but once in each of {len(result["cuts_made"])} equal parts of the bytes, for \
{min(down):.0f} to {max(down):.0f} s; in one of these parts the process that
sends is ended by `kill -9` instead, and started again. A cut lets every packet vanish, and the site forgets the
connections that stood, as when a router between begins anew: TCP alone would bridge so short a silence.

Beside it, at the same time, other ways send the archive of images that is nearly all of it. Each has its own site and
its own, equal link, which is cut at the same moments; what sends is killed with edgemgr's. After edgemgr is done there
are no more cuts, and the others go on until {result["all_s"] / 60:.0f} min have passed in all.

| way | TCP begins with | done after, min | of the size at the site | tries | MB there | MB back | MB on the link for \
each MB at the site |
|---|---|--:|--:|--:|--:|--:|--:|
{rows}

![Bytes at the site over time]({PICTURE})

{meanings}
- The sites know no compression, and the bytes do not compress. The ssh of scp, rsync and Ansible gives a dead
  connection up after 15 s of silence (`ServerAliveInterval 5`); by default it would take minutes.
- *At the site* is the largest size that its newest file ever had; scp and Ansible begin anew at every try.
- Loss-based congestion control (cubic, the default of Linux) reads loss as congestion: scp alone, on such a link that
  is not cut, comes to {_mbit(result["uncut"]["cubic"])} Mbit/s with cubic and to {_mbit(result["uncut"]["bbr"])} \
Mbit/s with BBR. edgemgr asks for BBR for its own transfers, so that
  nothing has to be set on the appliance or on a site.

{_account(result)}
"""


def draw(result: Mapping[str, Any]) -> None:
    """A curve for each way; the cuts as bars behind them, the kill as a line."""
    with picture(DOCS / PICTURE, 1, (10, 3.4)) as (axis,):
        for cut in result["cuts_made"]:
            begins = cut["at_s"] / 60
            if cut["down_s"]:
                axis.axvspan(begins, begins + cut["down_s"] / 60, color=FAINT, linewidth=0)
            else:
                axis.axvline(begins, color=GREY, linewidth=0.8)
                axis.annotate("kill -9", (begins, 1), xycoords=("data", "axes fraction"), xytext=(3, -9),
                              textcoords="offset points", color=INK, fontsize=7)  # fmt: skip
        for way in result["ways"]:
            colour, style = _LINES[way["key"]]
            name = WAYS[way["key"]][1]
            curve = way["curve"]
            axis.plot([at_s / 60 for at_s in curve["s"]], [held / MB for held in curve["held_bytes"]], color=colour,
                      linestyle=style, linewidth=2 if way["key"] == "edgemgr" else 1.2, label=name)  # fmt: skip
        plain(axis, x="minutes (grey: the links are cut)", y="MB at the site")
        axis.set_xlim(0, None)
        axis.set_ylim(0, _ours(result)["size_bytes"] / MB * 1.08)
        axis.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _row(way: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    control, name, _ = WAYS[way["key"]]
    done = f"{way['done_s'] / 60:.1f}" if way["done_s"] is not None else f"not in {result['all_s'] / 60:.0f}"
    kept = way["size_bytes"] if way["done_s"] is not None else way["most_bytes"]
    per = f"{_both(way) / kept:.3f}" if kept else ""
    return (
        f"| {name} | {control} | {done} | {kept / way['size_bytes']:.0%} | {way['tries'] or ''} "
        f"| {way['there_bytes'] / MB:.1f} | {way['back_bytes'] / MB:.1f} | {per} |"
    )


def _account(result: Mapping[str, Any]) -> str:
    way = _ours(result)
    size = way["size_bytes"]
    lost = sorted(cut["lost_bytes"] / MIB for cut in result["cuts_made"])
    parts = {
        "the content, once": size,
        "sent for nothing at cuts, logins, what edgemgr asks the node, and SSH's own heads": way["given_bytes"] - size,
        "sent again by TCP, as packets were lost": way["again_bytes"],
        "heads of TCP and IP, and connections too short to be seen": way["there_bytes"]
        - way["given_bytes"]
        - way["again_bytes"],
        "back from the site: acknowledgements, answers": way["back_bytes"],
    }
    rows = "\n".join(f"| {name} | {number / MB:.1f} | {number / size:.1%} |" for name, number in parts.items())
    return f"""\
Where edgemgr's bytes went:

| | MB | of the size |
|---|--:|--:|
{rows}
| all bytes on the link | {_both(way) / MB:.1f} | {_both(way) / size:.1%} |

- Bytes on the link are those of IP packets, counted by the kernel at the end that sends them (`tx_bytes` of the link's
  devices), so that those lost on the way, and those sent into a cut, count as well. What TCP sent again is `tcp_info`'s
  own count (`ss --info`).
- *Sent for nothing* at a cut is what edgemgr gave TCP since the cut before and TCP sent, less what the site's disk
  holds more than then and is not sent again: median {lost[len(lost) // 2]:.2f} MiB, at worst {lost[-1]:.2f} MiB. \
Logins and SSH's own heads
  are in it, TCP's repeats are not."""


def _ours(result: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(way for way in result["ways"] if way["key"] == "edgemgr")
    return found


def _both(way: Mapping[str, Any]) -> float:
    return float(way["there_bytes"] + way["back_bytes"])


def _mbit(bytes_s: float) -> str:
    return f"{bytes_s * 8 / 1e6:.1f}"
