"""`make bench`: runs the parts of the benchmarks one after the other and writes docs/benchmarks.md after each.

Each part is a module `bench_PART` with `measure(*, quick)`, which returns plain data for docs/benchmarks.json, and a
module `page_PART`, which makes its section of the page. With `--quick` a part takes under a minute and only prints.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import bench_page
from machine import describe_machine
from progress import say
from record import keep, read_record


def run(part: str, *, quick: bool) -> None:
    say(f"== {part}")
    machine, began = describe_machine(), time.monotonic()
    result = import_module(f"bench_{part}").measure(quick=quick)
    took_s = time.monotonic() - began
    if not quick:
        keep(part, machine=machine, took_s=took_s, result=json.loads(json.dumps(result)))
        bench_page.write(read_record(), part)
    page = import_module(f"page_{part}")
    sys.stdout.write(f"{page.section(result).strip()}\n\n")
    for claim in page.claims(result):
        sys.stdout.write(f"{claim.row()}\n")
    sys.stdout.flush()
    say(f"== {part} took {took_s:.0f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(bench_page.PARTS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="small numbers, under a minute a part; only prints")
    parser.add_argument("--render", action="store_true", help="measure nothing: write the page and pictures anew")
    options = parser.parse_args()
    unknown = sorted(set(options.parts) - set(bench_page.PARTS))
    if unknown:
        parser.error(f"there is no part {' '.join(unknown)}; parts: {' '.join(bench_page.PARTS)}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that whatever was started is ended
    chosen = [part for part in bench_page.PARTS if not options.parts or part in options.parts]
    if options.render:
        for part in set(chosen) & set(read_record()):
            bench_page.write(read_record(), part)
        return
    for part in chosen:
        run(part, quick=options.quick)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("given up")
