"""One command for people and schedulers: `antifraud VERB`. What a verb needs is imported when it runs."""

import argparse
import sys
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model.settings import Settings

Parser = argparse.ArgumentParser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.verb(options))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 1
    except (ValueError, OSError, RuntimeError) as error:
        return _fail(error)
    except Exception as error:
        if isinstance(error, _expected()):
            return _fail(error)
        raise


def _fail(error: BaseException) -> int:
    for line in str(error).splitlines() or [type(error).__name__]:
        print(f"antifraud: {line}", file=sys.stderr)
    return 1


def _expected() -> tuple[type[Exception], ...]:
    from model.registry import RegistryError

    return (RegistryError,)


def _parser() -> Parser:
    parser = Parser(prog="antifraud", description="Fraud scoring: simulate, train, serve, explain.")
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")
    for name, configure in _VERBS.items():
        add, run, text, example = configure
        verb = verbs.add_parser(
            name,
            help=text,
            description=text,
            epilog=f"example: {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        add(verb)
        verb.set_defaults(verb=run)
    return parser


def _settings(options: argparse.Namespace) -> "Settings":
    from model.settings import Settings, load_settings

    given = {name: value for name, value in vars(options).items() if name in Settings.model_fields}
    return load_settings(**given)


# --- simulate ---------------------------------------------------------------------------------------------------------


def _add_simulate(parser: Parser) -> None:
    size = "default: the profile's"
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder for one Parquet file a day; days of the same settings that it already holds are kept, so an"
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


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError("must be a day as YYYY-MM-DD") from None


def _simulate(options: argparse.Namespace) -> int:
    from dataclasses import replace

    from model.training.simulation import PROFILES, simulate

    names = ("days", "customers", "terminals", "start", "seed", "dirt")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    summary = simulate(replace(PROFILES[options.profile], **given), options.out)
    print(f"{summary.rows:,} transactions, {summary.fraud_share:.2%} of them fraud, in {options.out}")
    return 0


# --- train ------------------------------------------------------------------------------------------------------------


def _add_common(parser: Parser) -> None:
    parser.add_argument("--work-folder", type=Path, metavar="DIR", help="folder for all that is made locally")
    parser.add_argument("--id-key-file", type=Path, metavar="FILE", help="file with the secret key that hashes ids")
    parser.add_argument("--tracking-uri", metavar="URI", help="MLflow registry; default: embedded in the work folder")


def _add_train(parser: Parser) -> None:
    parser.add_argument("--history", type=Path, required=True, metavar="PATH", help="CSV or Parquet, file or folder")
    _add_common(parser)
    parser.add_argument("--appoint", action="store_true", help="make it the champion even if there is one already")
    parser.add_argument("--label-delay", metavar="1d", help="from a payment to its fraud report (s, m, h, d)")
    parser.add_argument("--statistics-age", metavar="1h", help="how often statistics are refreshed")
    parser.add_argument("--trees", type=int, help="trees of the model")
    parser.add_argument("--leaves", type=int, help="leaves of a tree")
    parser.add_argument("--seed", type=int, help="seed of everything random")
    parser.add_argument("--threads", type=int, help="processor cores to use")
    parser.add_argument("--memory-limit", metavar="4GB", help="memory for preparation before it spills to disk")


def _train(options: argparse.Namespace) -> int:
    settings = _settings(options)
    print(train_and_report(settings, options.history, appoint=options.appoint))
    return 0


def train_and_report(settings: "Settings", history: Path, *, appoint: bool = False) -> str:
    """Train on a history and return what a person wants to know of it."""
    from model.registry import CHAMPION, registry_uri
    from model.training.train import train

    outcome = train(history, settings=settings, tracking_uri=registry_uri(settings), appoint=appoint)
    role = f"appointed {CHAMPION}" if outcome.is_champion else f"registered; the {CHAMPION} stays"
    return "\n".join(
        (
            outcome.cleaning.render(),
            "",
            (outcome.report / "evaluation.txt").read_text(encoding="utf-8").rstrip(),
            "",
            f"{outcome.model} {role}; {outcome.statistics}",
            f"report: {outcome.report}",
        )
    )


# --- serve ------------------------------------------------------------------------------------------------------------


def _add_serve(parser: Parser) -> None:
    _add_common(parser)
    parser.add_argument("--host", help="address to listen on")
    parser.add_argument("--port", type=int, help="port to listen on")


def _serve(options: argparse.Namespace) -> int:
    from service.server import serve

    return serve(_settings(options))


# --- run --------------------------------------------------------------------------------------------------------------


def _add_run(parser: Parser) -> None:
    parser.add_argument("--history", type=Path, metavar="PATH", help="real history; default: a simulated small bank")
    parser.add_argument("--host", help="address to listen on")
    parser.add_argument("--port", type=int, help="port to listen on")
    parser.add_argument("--work-folder", type=Path, metavar="DIR", help="folder for all that is made locally")
    parser.add_argument("--once", action="store_true", help="stop after the two example payments")


def _run(options: argparse.Namespace) -> int:
    from antifraud.demo import run

    return run(_settings(options), history=options.history, once=options.once)


# --- reasons ----------------------------------------------------------------------------------------------------------


def _add_page(parser: Parser) -> None:
    parser.add_argument("--check", type=Path, metavar="FILE", help="compare with a file instead of printing")


def _reasons(options: argparse.Namespace) -> int:
    from model.reasons import catalogue

    return _print_or_compare(catalogue(), options.check)


def _settings_page(options: argparse.Namespace) -> int:
    from model.settings import settings_page

    return _print_or_compare(settings_page(), options.check)


def _print_or_compare(page: str, file: Path | None) -> int:
    if file is None:
        print(page, end="")
        return 0
    if file.read_text(encoding="utf-8") == page:
        return 0
    print(f"{file} is not what the code says: run `make docs`", file=sys.stderr)
    return 1


Verb = tuple[Callable[[Parser], None], Callable[[argparse.Namespace], int], str, str]
_VERBS: dict[str, Verb] = {
    "run": (_add_run, _run, "Train if needed, serve, and show two example payments.", "antifraud run"),
    "simulate": (
        _add_simulate,
        _simulate,
        "Write a simulated history of card payments.",
        "antifraud simulate --profile bank --days 7 --dirt 0.001 --out history",
    ),
    "train": (
        _add_train,
        _train,
        "Clean a history, train and test a model, register it with fresh statistics.",
        "antifraud train --history history --id-key-file id.key --label-delay 1d",
    ),
    "serve": (
        _add_serve,
        _serve,
        "Serve the champion over HTTP.",
        "antifraud serve --id-key-file id.key --port 8000",
    ),
    "reasons": (_add_page, _reasons, "Print the catalogue of reason codes.", "antifraud reasons >docs/reasons.md"),
    "settings": (_add_page, _settings_page, "Print all settings.", "antifraud settings >docs/settings.md"),
}
