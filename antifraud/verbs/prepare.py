"""`antifraud prepare`: clean a history and sum it up, on one machine or on a cluster."""

import argparse
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

from antifraud.options import add_common, add_history, add_reports, address, settings_from

if TYPE_CHECKING:
    from model.settings import Settings
    from model.training.prepare import CleaningReport

TEXT = "Clean a history and write transactions, hourly tiles and statistics as Parquet."
EXAMPLE = "antifraud prepare --history history --out prepared --engine spark --as-of data --id-key-file id.key"

HISTORY_END, NOW = "data", "now"
HOUR = 3600
MEGABYTES_OF_UNIT = {"MB": "m", "GB": "g"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_history(parser)
    parser.add_argument(
        "--out",
        type=address,
        required=True,
        metavar="ADDRESS",
        help="folder, here or in a store; what an earlier run wrote there counts until this one has ended",
    )
    parser.add_argument(
        "--engine",
        choices=("duckdb", "spark"),
        default="duckdb",
        help="duckdb (default): in this process; spark: on all cores of this machine, or where spark-submit says",
    )
    parser.add_argument(
        "--as-of",
        type=_as_of,
        metavar="WHEN",
        help="also write the statistics of an hour: data (the full hour after the last payment), now, or a time such"
        " as 2026-11-22T13:00:00Z, whose started hour is left out",
    )
    parser.add_argument(
        "--spark",
        type=_setting,
        action="append",
        metavar="NAME=VALUE",
        help="a setting of Spark, such as spark.master=local[2]; again for each",
    )
    add_reports(parser)
    add_common(parser)
    parser.add_argument("--label-delay", metavar="1d", help="from a payment to its report where nobody gives its time")
    parser.add_argument("--threads", type=int, help="processor cores to use (duckdb)")
    parser.add_argument("--memory-limit", metavar="4GB", help="memory before work spills to disk; heap of local Spark")


def run(options: argparse.Namespace) -> int:
    """Run the verb and return its exit code."""
    settings = settings_from(options)
    work = _in_spark if options.engine == "spark" else _in_duckdb
    report = work(options, settings)
    print(report.render())
    print(f"PREPARED: {options.out}")
    return 0


def _in_duckdb(options: argparse.Namespace, settings: "Settings") -> "CleaningReport":
    from model.training.database import connect
    from model.training.prepared import prepare_files
    from model.training.scratch import scratch_folder

    with (
        scratch_folder(settings.work_folder) as scratch,
        connect(scratch, memory_limit=settings.memory_limit, threads=settings.threads) as connection,
    ):
        asked = _asked(options, settings)
        return prepare_files(connection, options.history, options.out, scratch=scratch / "files", **asked)


def _in_spark(options: argparse.Namespace, settings: "Settings") -> "CleaningReport":
    try:
        from model.training.spark.prepare import prepare_on_spark
        from model.training.spark.session import session
    except ModuleNotFoundError as error:
        if error.name not in ("pyspark", "py4j"):
            raise
        raise RuntimeError("--engine spark needs pyspark: pip install -r requirements/spark.txt") from None
    memory = f"{settings.memory_limit[:-2]}{MEGABYTES_OF_UNIT[settings.memory_limit[-2:]]}"
    with session(memory=memory, settings=dict(options.spark or [])) as spark:
        return prepare_on_spark(spark, options.history, options.out, **_asked(options, settings))


def _asked(options: argparse.Namespace, settings: "Settings") -> dict[str, Any]:
    from model.training.terms import Terms

    return {
        "terms": Terms.of(settings, settings.id_hasher()),
        "as_of": options.as_of,
        "progress": lambda step: print(f"{step} ...", file=sys.stderr, flush=True),
    }


def _setting(text: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not found or not name.startswith("spark."):
        raise argparse.ArgumentTypeError("must be NAME=VALUE, the name beginning with spark.")
    return name, value


def _as_of(text: str) -> int | str:
    if text == HISTORY_END:
        return text
    try:
        moment = datetime.now().astimezone() if text == NOW else datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise argparse.ArgumentTypeError("must be data, now, or a time with its zone such as 2026-11-22T13:00:00Z")
    return int(moment.timestamp()) // HOUR
