"""`antifraud promote`: the step after `antifraud retrain --leave-champion` and `antifraud gate`."""

import argparse
import sys

from antifraud.options import add_common, settings_from

TEXT = "Let the challenger be the champion, if the gate let it pass and the champion is what it was held against."
EXIT_CODES = (
    "Exit code: 0 promoted (or promoted before), 10 kept (the gate did not let it pass), 11 busy or overtaken (a\n"
    "retraining is at work, or another job moved the champion meanwhile), 1 failed, 2 wrong usage."
)
EXAMPLE = "antifraud promote --tracking-uri http://127.0.0.1:5000"

PROMOTED, KEPT, BUSY = 0, 10, 11


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.description = f"{TEXT}\n\n{EXIT_CODES}"
    add_common(parser)


def run(options: argparse.Namespace) -> int:
    """Run the verb and return its exit code."""
    from model.registry import LockedError, LockLostError, registry_uri
    from model.training.promote import Verdict, promote

    try:
        promotion = promote(registry_uri(settings_from(options)))
    except (LockedError, LockLostError) as error:
        print(f"antifraud: {error}", file=sys.stderr)
        return BUSY
    model, statistics = promotion.judged.model, promotion.judged.statistics
    what, code = {
        Verdict.PROMOTED: (f"{model} is the champion now", PROMOTED),
        Verdict.KEPT: (f"{model} did not pass the gate; the champion stays", KEPT),
        Verdict.OVERTAKEN: (f"{model} stays the challenger; another job moved the champion meanwhile", BUSY),
    }[promotion.verdict]
    print("\n".join((*promotion.reasons, f"{str(promotion.verdict).upper()}: {what}; {statistics}")))
    return code
