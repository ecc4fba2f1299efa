"""`edgemgr lab`: simulated sites on this machine."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from edgemgr.cli.table import print_table
from edgemgr.lab.lab import DEFAULT_SUBNET, Lab
from edgemgr.lab.offered_release import offer_release
from edgemgr.lab.simulated_site import SimulatedSite
from edgemgr.settings import load_settings

app = typer.Typer(
    help="Simulated sites on this machine. Real sshd, and real systemd in the full flavour; needs root.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

SiteName = Annotated[str, typer.Argument(metavar="SITE", help="Name of the site, such as site-1.")]
Directory = Annotated[
    Path | None, typer.Option("--dir", help="Folder of the lab; default: the setting lab_dir.", show_default=False)
]


class Output(StrEnum):
    """Forms of a list."""

    TABLE = "table"
    JSON = "json"


@app.command()
def up(
    sites: Annotated[int, typer.Option(min=1, help="Have site-1 to site-N running; sites that run are left alone.")],
    light: Annotated[
        bool, typer.Option("--light", help="New sites have no systemd, only sshd: hundreds fit on one machine.")
    ] = False,
    k3s: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="A real k3s binary to offer as a release; with --images."),
    ] = None,
    images: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="The image archive of that k3s.")
    ] = None,
    directory: Directory = None,
    base: Annotated[Path | None, typer.Option(help="Share the base tree of another lab.", show_default=False)] = None,
    subnet: Annotated[str, typer.Option(help="IPv4 network for the links, a /30 each.")] = DEFAULT_SUBNET,
) -> None:
    """Boot simulated sites. Writes a CSV and a k3s release directory for them.

    Without --k3s and --images the release is a stand-in for k3s, not k3s itself.
    """
    lab = _lab(directory, base=base, subnet=subnet)
    began = time.monotonic()
    lab.up(sites, light=light)
    offer_release(lab.release_directory, k3s=k3s, images=images)
    _progress_end()
    typer.echo(f"{sites} sites answer ({time.monotonic() - began:.1f} s).", err=True)
    typer.echo(f"sites    {lab.csv_path}")
    typer.echo(f"release  {lab.release_directory}")


@app.command()
def down(
    sites: Annotated[list[str] | None, typer.Argument(metavar="SITE", help="Sites to remove; default: all.")] = None,
    purge: Annotated[bool, typer.Option("--purge", help="Remove the base tree and the lab's folder as well.")] = False,
    directory: Directory = None,
) -> None:
    """End sites and remove everything that belongs to them. Works after crashes too."""
    _lab(directory).down(*(sites or []), purge=purge)
    _progress_end()


@app.command("list")
def list_sites(
    output: Annotated[Output, typer.Option("-o", "--output", help="Form of the list.")] = Output.TABLE,
    directory: Directory = None,
) -> None:
    """List the sites, with the state of their processes and links."""
    sites = _lab(directory).list()
    if output is Output.JSON:
        typer.echo(json.dumps([_as_json(site) for site in sites], indent=2))
        return
    titles = ("name", "address", "flavour", "state", "link")
    rows = [(site.name, site.address, site.flavour.value, site.state.value, site.link.value) for site in sites]
    print_table(titles, rows)


@app.command()
def cut(site: SiteName, directory: Directory = None) -> None:
    """Cut a site's link: packets vanish, connections hang."""
    _lab(directory).cut(site)


@app.command()
def degrade(
    site: SiteName,
    delay: Annotated[float, typer.Option(metavar="MS", help="Delay each way, in milliseconds.")] = 0.0,
    loss: Annotated[float, typer.Option(metavar="PERCENT", help="Packets lost each way, in percent.")] = 0.0,
    rate: Annotated[float, typer.Option(metavar="MBIT", help="Rate each way, in Mbit/s.")] = 100.0,
    directory: Directory = None,
) -> None:
    """Make a site's link slow and lossy."""
    _lab(directory).degrade(site, delay_ms=delay, loss_percent=loss, rate_mbit=rate)


@app.command()
def restore(site: SiteName, directory: Directory = None) -> None:
    """Undo cut, degrade and power-cut; a site that is off boots."""
    _lab(directory).restore(site)


@app.command()
def reboot(site: SiteName, directory: Directory = None) -> None:
    """Reboot a site and wait until it answers."""
    _lab(directory).reboot(site)


@app.command("power-cut")
def power_cut(site: SiteName, directory: Directory = None) -> None:
    """Kill a site at once. Its files stay; `restore` boots it again."""
    _lab(directory).power_cut(site)


@app.command()
def console(
    site: SiteName,
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="Lines from the end of the log.")] = 20,
    directory: Directory = None,
) -> None:
    """Print where a site's boot log is, and its end."""
    path = _lab(directory).console(site)
    typer.echo(path, err=True)
    if lines and path.exists():
        typer.echo("\n".join(path.read_text(errors="replace").splitlines()[-lines:]))


@app.command()
def release(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to make.")],
    version: Annotated[str, typer.Option(help="Version that the stand-in shall have, such as v1.33.5+k3s1.")],
) -> None:
    """Write a further release directory with a stand-in for k3s."""
    from edgemgr.lab.release_files import write_standin_release

    write_standin_release(folder, version)
    typer.echo(folder)


def _lab(directory: Path | None, *, base: Path | None = None, subnet: str = DEFAULT_SUBNET) -> Lab:
    return Lab(directory or load_settings().lab_dir, base=base, subnet=subnet, progress=_progress())


def _progress() -> Callable[[str], None]:
    """On a terminal one line that changes; elsewhere a line for every new kind of step."""
    told = [""]

    def tell(line: str) -> None:
        if sys.stderr.isatty():
            typer.echo(f"\r\x1b[K{line}", nl=False, err=True)
            return
        kind = line.rstrip("0123456789 of()")
        if kind != told[0]:
            typer.echo(line, err=True)
            told[0] = kind

    return tell


def _progress_end() -> None:
    if sys.stderr.isatty():
        typer.echo("\r\x1b[K", nl=False, err=True)


def _as_json(site: SimulatedSite) -> dict[str, str | int | None]:
    """What may be shown: not the password, which is in the CSV for those who may read it."""
    return {
        "name": site.name,
        "address": site.address,
        "port": site.port,
        "user": site.user,
        "host_key": site.host_key_fingerprint,
        "flavour": site.flavour.value,
        "state": site.state.value,
        "link": site.link.value,
        "disk_mib": site.disk_mib,
    }
