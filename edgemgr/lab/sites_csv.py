"""The CSV that describes the lab's sites, as their owner would hand it over."""

from __future__ import annotations

import csv
import io
import platform
from collections.abc import Iterable

from edgemgr.lab.simulated_site import SimulatedSite

COLUMNS = (
    "name", "address", "port", "user", "host_key", "password", "arch", "timezone", "latitude", "longitude",
    "labels.lab", "labels.region", "notes",
)  # fmt: skip

#: City, region, time zone (IANA), latitude and longitude in degrees.
PLACES = (
    ("Hamburg", "emea", "Europe/Berlin", 53.551, 9.993),
    ("Lisbon", "emea", "Europe/Lisbon", 38.722, -9.139),
    ("Chicago", "amer", "America/Chicago", 41.878, -87.630),
    ("Osaka", "apac", "Asia/Tokyo", 34.694, 135.502),
    ("Nairobi", "emea", "Africa/Nairobi", -1.286, 36.817),
    ("Recife", "amer", "America/Recife", -8.054, -34.881),
    ("Perth", "apac", "Australia/Perth", -31.952, 115.861),
    ("Oslo", "emea", "Europe/Oslo", 59.914, 10.752),
    ("Denver", "amer", "America/Denver", 39.739, -104.990),
    ("Pune", "apac", "Asia/Kolkata", 18.520, 73.857),
    ("Porto", "emea", "Europe/Lisbon", 41.150, -8.611),
    ("Lima", "amer", "America/Lima", -12.046, -77.043),
    ("Busan", "apac", "Asia/Seoul", 35.180, 129.075),
    ("Krakow", "emea", "Europe/Warsaw", 50.065, 19.945),
    ("Halifax", "amer", "America/Halifax", 44.649, -63.575),
    ("Auckland", "apac", "Pacific/Auckland", -36.848, 174.763),
)
ARCHES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "armhf"}


def sites_csv(sites: Iterable[SimulatedSite], lab: str) -> str:
    """Write one line a site; `lab` is the value of the label of that name."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for site in sites:
        lap, place = divmod(site.number - 1, len(PLACES))
        city, region, timezone, latitude, longitude = PLACES[place]
        rows.writerow(
            [
                site.name, site.address, site.port, site.user, site.host_key_fingerprint, site.password,
                ARCHES.get(platform.machine(), platform.machine()), timezone,
                # A second site in the same city stands some hundred metres further on.
                f"{latitude + lap * 0.004:.3f}", f"{longitude + lap * 0.003:.3f}",
                lab, region, f"simulated site in {city}, {site.flavour} flavour",
            ]
        )  # fmt: skip
    return text.getvalue()
