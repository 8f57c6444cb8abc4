"""One command for people and schedulers: `antifraud VERB`. What a verb needs is imported when it runs."""

import argparse
import sys
from collections.abc import Callable, Sequence
from types import ModuleType

from antifraud.verbs import (
    book,
    cutoffs,
    delete_version,
    evaluate,
    gate,
    land,
    moves,
    prepare,
    promote,
    reasons,
    refresh,
    retrain,
    rollback,
    run,
    serve,
    settings,
    simulate,
    stream,
    train,
)

Parser = argparse.ArgumentParser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code: 0 done, 1 failed, 2 wrong usage, 3 no broker, 130 interrupted."""
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
    parser = Parser(prog="antifraud", description="Fraud scoring: simulate, train, evaluate, serve, keep fresh.")
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")
    for name, (configure, work, text, example) in _VERBS.items():
        verb = verbs.add_parser(
            name,
            help=text,
            description=text,
            epilog=f"example: {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        configure(verb)
        verb.set_defaults(verb=work)
    return parser


Verb = tuple[Callable[[Parser], None], Callable[[argparse.Namespace], int], str, str]


def _verb(module: ModuleType) -> Verb:
    return module.configure, module.run, module.TEXT, module.EXAMPLE


_VERBS: dict[str, Verb] = {
    "run": _verb(run),
    "simulate": _verb(simulate),
    "train": _verb(train),
    "prepare": _verb(prepare),
    "refresh": _verb(refresh),
    "retrain": _verb(retrain),
    "gate": _verb(gate),
    "promote": _verb(promote),
    "book": _verb(book),
    "evaluate": _verb(evaluate),
    "cutoffs": _verb(cutoffs),
    "serve": _verb(serve),
    "stream": _verb(stream),
    "land": _verb(land),
    "reasons": _verb(reasons),
    "settings": _verb(settings),
    "moves": _verb(moves),
    "rollback": _verb(rollback),
    "delete-version": _verb(delete_version),
}
