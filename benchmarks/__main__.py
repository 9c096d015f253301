"""`python -m benchmarks`: measure, check the rows, write RESULTS.md and its picture."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
from pathlib import Path

from benchmarks import essay, lake, pages, prefect_on_top, report, results, second_worker, server, startup
from benchmarks.contenders import contenders
from benchmarks.contest import Contest
from benchmarks.peers.workload import ENDPOINTS
from benchmarks.results import Section

HERE = Path(__file__).resolve().parent
CACHE = HERE.parent / "data" / "bench"
SECTIONS = (*ENDPOINTS, "prefect", "second-worker", "startup", "lake", "essay")
PORT = 18713


def main() -> None:
    """Measure the sections asked for and render all that were ever measured."""
    asked = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started ends with us
    file = HERE / "results.json"
    if not asked.render:
        for name in asked.only or SECTIONS:
            section = _measured(name, asked)
            results.write(results.read(file).with_section(section), file)
    report.write(results.read(file), HERE)
    print(f"wrote {(HERE / 'RESULTS.md').relative_to(HERE.parent)}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds whose median is told (5)")
    parser.add_argument("--only", action="append", choices=SECTIONS, help="one section; may be given more than once")
    parser.add_argument("--contender", action="append", help="only these, by name; may be given more than once")
    parser.add_argument(
        "--peers", action="store_true", help="with dlt, Airbyte and Singer, in environments built on first use"
    )
    parser.add_argument("--port", type=int, default=PORT, help=f"where the pages are served ({PORT})")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder for pages, output and environments")
    parser.add_argument("--server", choices=("nginx", "bundled"), help="nginx where it is installed, by default")
    parser.add_argument("--render", action="store_true", help="measure nothing: write RESULTS.md from results.json")
    asked = parser.parse_args()
    if asked.contender and not asked.only:
        parser.error(
            "--contender needs --only: a section with fewer contenders takes the place of the one that is there"
        )
    return asked


def _measured(name: str, asked: argparse.Namespace) -> Section:
    """The section *name*, with a page server of its own where it reads pages."""
    if name == "lake":
        return lake.measured(
            asked.cache.resolve(), rounds=asked.rounds, command=_command(name, asked), peers=asked.peers
        )
    folder, out = asked.cache.resolve() / f"pages-{asked.port}", asked.cache.resolve() / "out"
    served = {"startup": ("one",), "essay": ("slow",), "second-worker": ("x10",), "prefect": prefect_on_top.SIZES}
    print(f"{name}: preparing", flush=True)
    pages.prepare(folder, f"http://{server.HOST}:{asked.port}", served.get(name, (name,)))
    command = _command(name, asked)
    try:
        with server.serve(folder, asked.port, kind=asked.server) as running:
            if name == "startup":
                return startup.measured(running.base_url, out, rounds=asked.rounds, command=command)
            if name == "second-worker":
                return second_worker.measured(running.base_url, out, rounds=asked.rounds, command=command)
            if name == "essay":
                return essay.measured(running.base_url, out, rounds=asked.rounds, command=command)
            contest = Contest(running, folder, out, asked.rounds, command)
            if name == "prefect":
                return prefect_on_top.measured(contest, asked.cache.resolve())
            taking_part = contenders(asked.cache.resolve(), peers=asked.peers, only=asked.contender or ())
            return contest.hold(name, taking_part)
    finally:
        shutil.rmtree(out, ignore_errors=True)


def _command(name: str, asked: argparse.Namespace) -> str:
    chosen = "".join(f" --contender {one}" for one in asked.contender or ())
    return f"python -m benchmarks --only {name} --rounds {asked.rounds}{' --peers' if asked.peers else ''}{chosen}"


if __name__ == "__main__":
    main()
