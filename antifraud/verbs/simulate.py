"""`antifraud simulate`: a history of card payments out of nothing."""

import argparse
from datetime import date

from antifraud.options import address

TEXT = "Write a simulated history of card payments."
EXAMPLE = "antifraud simulate --profile bank --days 7 --dirt 0.001 --out history"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    size = "default: the profile's"
    parser.add_argument(
        "--out",
        type=address,
        required=True,
        metavar="ADDRESS",
        help="folder for one Parquet file a day, a path, s3://bucket/prefix or hdfs://host:port/path;"
        " days of the same settings that it already holds are kept, so an"
        " interrupted run goes on where it stopped",
    )
    parser.add_argument(
        "--profile",
        choices=("small", "bank"),
        default="small",
        help="small (default): 2 000 customers, 4 000 terminals, 90 days, 0.35 million rows, 2 %% fraud; bank:"
        " 1 000 000 customers, 1 000 terminals, 30 days, 58 million rows (0.5 GB), 5 %% fraud",
    )
    parser.add_argument("--days", type=int, metavar="N", help=f"days of history; {size}")
    parser.add_argument("--customers", type=int, metavar="N", help=f"number of customers; {size}")
    parser.add_argument("--terminals", type=int, metavar="N", help=f"number of terminals; {size}")
    parser.add_argument("--start", type=_day, metavar="YYYY-MM-DD", help="first day; default: 2026-01-01")
    parser.add_argument("--seed", type=int, metavar="N", help="same seed, same bytes; default: 0")
    parser.add_argument(
        "--dirt",
        type=float,
        metavar="SHARE",
        help="share of rows, 0 to 1, with each kind of dirt that real history has: a missing time, a repeated"
        " transaction id, an id of -999999; default: 0",
    )


def run(options: argparse.Namespace) -> int:
    """Run the verb and return its exit code."""
    from dataclasses import replace

    from model.training.simulation import PROFILES, simulate

    names = ("days", "customers", "terminals", "start", "seed", "dirt")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    summary = simulate(replace(PROFILES[options.profile], **given), options.out)
    print(f"{summary.rows:,} transactions, {summary.fraud_share:.2%} of them fraud, in {options.out}")
    return 0


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError("must be a day as YYYY-MM-DD") from None
