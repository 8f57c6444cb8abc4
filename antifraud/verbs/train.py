"""`antifraud train`: from a history to a registered model."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from antifraud.options import add_common, add_history, add_training, settings_from

if TYPE_CHECKING:
    from model.settings import Settings

TEXT = "Clean a history, train and test a model, register it with fresh statistics."
EXAMPLE = "antifraud train --history history --id-key-file id.key --label-delay 1d"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_history(parser, or_prepared=True)
    add_common(parser)
    parser.add_argument("--appoint", action="store_true", help="make it the champion even if there is one already")
    add_training(parser)


def run(options: argparse.Namespace) -> int:
    """Run the verb and return its exit code."""
    settings = settings_from(options)
    print(train_and_report(settings, options.history, appoint=options.appoint))
    return 0


def train_and_report(settings: "Settings", history: Path | str, *, appoint: bool = False) -> str:
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
