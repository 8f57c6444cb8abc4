"""`antifraud rollback`: the version before is served again."""

import argparse

from antifraud.options import add_common, settings_from

TEXT = "Let the champion (or the current statistics) be the version that it was before; pods follow without a restart."
EXAMPLE = 'antifraud rollback --why "declines doubled since noon"'


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--statistics", action="store_true", help="roll back the statistics instead of the model")
    which.add_argument(
        "--with-statistics", action="store_true", help="also go to statistics that fit the model, if the current do not"
    )
    parser.add_argument("--to", metavar="VERSION", help="a version to go to; default: the one before, by the record")
    parser.add_argument("--why", required=True, metavar="TEXT", help="the reason, kept in the record of moves")
    parser.add_argument("--who", metavar="NAME", help="who asks for it; default: user@host")
    add_common(parser)


def run(options: argparse.Namespace) -> int:
    """Run the verb and return its exit code."""
    from model.registry import CHAMPION, CURRENT, MODEL_NAME, STATISTICS_NAME, default_who, open_publisher, registry_uri

    if not options.why.strip():
        raise ValueError("--why: give a reason; those who read the record later will want it")
    publisher = open_publisher(registry_uri(settings_from(options)), create=False)
    who, why, to = options.who or default_who(), options.why, options.to
    if options.with_statistics:
        moves = [*publisher.rollback_pair(who=who, why=why, to=to)]
    else:
        name, alias = (STATISTICS_NAME, CURRENT) if options.statistics else (MODEL_NAME, CHAMPION)
        moves = [publisher.rollback(name, alias, who=who, why=why, to=to)]
    print("; ".join(_said(move.name, move.alias, move.before, move.after) for move in moves))
    return 0


def _said(name: str, alias: str, before: str | None, after: str | None) -> str:
    if before == after:
        return f"{name}: '{alias}' stays version {after}"
    return f"{name}: '{alias}' is version {after} again, in place of version {before or 'none'}"
