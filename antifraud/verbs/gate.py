"""`antifraud gate`: what a scheduler asks between training a challenger and promoting it."""

import argparse

from antifraud.options import add_common, settings_from

TEXT = "Say what the gate found of the challenger that is registered, and change nothing."
EXIT_CODES = (
    "Exit code: 0 passed, 10 not passed (the champion stays), 1 there is no challenger that was judged, 2 wrong usage."
)
EXAMPLE = "antifraud gate --tracking-uri http://127.0.0.1:5000"

PASSED, NOT_PASSED = 0, 10


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.description = f"{TEXT}\n\n{EXIT_CODES}"
    add_common(parser)


def run(options: argparse.Namespace) -> int:
    """Run the verb and return its exit code."""
    from model.registry import open_publisher, registry_uri
    from model.training.promote import read_judgement

    judged = read_judgement(open_publisher(registry_uri(settings_from(options)), create=False))
    against = f"champion version {judged.champion}" if judged.champion else "no champion"
    said = "PASSED" if judged.judgement.promote else "NOT PASSED"
    print("\n".join((*judged.judgement.reasons, f"{said}: {judged.model}, held against {against}")))
    return PASSED if judged.judgement.promote else NOT_PASSED
