"""Options that several verbs share, and the settings that they give."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model.settings import Settings

Parser = argparse.ArgumentParser


def address(text: str) -> Path | str:
    """Return the path, or the text of the address in a store, that an option gives."""
    from model.address import AddressError, location

    try:
        found = location(text)
    except AddressError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    assert isinstance(found, Path | str)  # noqa: S101  text gives nothing else
    return found


def add_history(parser: Parser, *, or_prepared: bool = False) -> None:
    """Add where the history is, and what to do about files in it that are broken.

    Parameters
    ----------
    or_prepared
        Whether the verb also takes what `antifraud prepare` wrote.
    """
    parser.add_argument(
        "--history",
        type=address,
        required=True,
        metavar="ADDRESS",
        help="CSV or Parquet, file or folder: a path, s3://bucket/prefix or hdfs://host:port/path"
        + "; or one that antifraud prepare wrote to" * or_prepared,
    )
    parser.add_argument(
        "--skip-unreadable-files",
        action="store_true",
        default=None,
        help="leave out files that cannot be read, counted and named, in place of stopping",
    )


def add_common(parser: Parser) -> None:
    """Add what every verb that works with a registry takes."""
    parser.add_argument("--work-folder", type=Path, metavar="DIR", help="folder for all that is made locally")
    parser.add_argument("--id-key-file", type=Path, metavar="FILE", help="file with the secret key that hashes ids")
    parser.add_argument("--tracking-uri", metavar="URI", help="MLflow registry; default: embedded in the work folder")


def add_reports(parser: Parser) -> None:
    """Add where reports come in that are no part of the history."""
    parser.add_argument(
        "--reports",
        type=address,
        metavar="ADDRESS",
        help="file or folder of reports that came later: transaction_id, report_datetime and, if one may be taken"
        " back, tx_fraud (1 or 0); give it every time",
    )


def add_training(parser: Parser) -> None:
    """Add what every verb that trains a model takes."""
    add_reports(parser)
    parser.add_argument("--label-delay", metavar="1d", help="from a payment to its fraud report (s, m, h, d)")
    parser.add_argument("--statistics-age", metavar="1h", help="how often statistics are refreshed")
    parser.add_argument("--trees", type=int, help="trees of the model")
    parser.add_argument("--leaves", type=int, help="leaves of a tree")
    parser.add_argument("--seed", type=int, help="seed of everything random")
    parser.add_argument("--threads", type=int, help="processor cores to use")
    parser.add_argument("--memory-limit", metavar="4GB", help="memory for preparation before it spills to disk")


def settings_from(options: argparse.Namespace) -> "Settings":
    """Return the settings of the environment, with the options of this call above them."""
    from model.settings import Settings, load_settings

    given = {name: value for name, value in vars(options).items() if name in Settings.model_fields}
    return load_settings(**given)
