"""Serve the bundled APIs until interrupted: `python -m pipelines.demo --help`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from pipelines.demo.faults import KINDS
from pipelines.demo.latency import DEFAULT_LATENCY, seconds


def main(arguments: Sequence[str] | None = None) -> int:
    """Print where the APIs listen, as one line of JSON, and serve them."""
    options = _parser().parse_args(arguments)
    from pipelines.demo.server import run

    try:
        run(latency_s=options.latency, chaos=options.chaos, seed=options.seed, until_eof=options.until_eof)
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipelines.demo", description=__doc__)
    parser.add_argument(
        "--latency",
        type=seconds,
        default=seconds(DEFAULT_LATENCY),
        metavar="TIME",
        help=f"median wait before an answer, such as 80ms; 0ms for none (default: {DEFAULT_LATENCY})",
    )
    parser.add_argument(
        "--chaos",
        type=_share,
        default=0.0,
        metavar="RATE",
        help=f"share of requests that go wrong, 0 to 1: {', '.join(KINDS)} (default: 0)",
    )
    parser.add_argument("--seed", type=int, default=0, help="which requests go wrong, and how (default: 0)")
    parser.add_argument("--until-eof", action="store_true", help="end when standard input ends")
    return parser


def _share(text: str) -> float:
    rate = float(text)
    if not 0 <= rate <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return rate


if __name__ == "__main__":
    sys.exit(main())
