"""How much faster the kernel is than LightGBM's own explanation, and than other libraries'.

One core, one row at a time, everything in one run and in turn. shapiq and XGBoost work in processes and environments of
their own, under var/peers; --install makes those that are missing, for which Python 3.12 is needed.
"""

import argparse
import gc
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np

from loadtest.explain_clock import Timed
from loadtest.explain_engines import (
    ASKED_ROWS,
    COMPARED_ROWS,
    SEED,
    SHAPES,
    FloatArray,
    Shape,
    exactness,
    largest_difference,
    train,
    training_rows,
    versions,
    ways,
)
from loadtest.explain_peers import KERNEL_PEERS, KernelPeer, PeerError, PeerProcess, find_python, running
from loadtest.explain_report import (
    Circumstances,
    Measured,
    as_json,
    as_page,
    as_table,
    baseline_first,
    findings,
    timing,
)
from loadtest.peers import machine
from loadtest.peers.catalogue import ROOT
from loadtest.peers.environments import EnvironmentMissingError
from loadtest.sections import write_figures, write_section

ROUNDS = 10
SLICE_SECONDS = 0.15  # of a way in a round; at least three calls, or twice as long
MOST_SECONDS = 3.0  # of a way with one model; a slow one leaves the later rounds to the others
COMMAND = "python -m loadtest.explain"


@dataclass(frozen=True, slots=True)
class Workshop:
    """What every size is measured with.

    Attributes
    ----------
    folder
        Where peers find rows and models.
    rows, label
        To train with.
    asked
        Rows that are explained.
    """

    folder: Path
    rows: FloatArray
    label: FloatArray
    asked: FloatArray


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write the documents; return 0, or 1 if it cannot be measured here."""
    options = _parser().parse_args(arguments)
    load_before = machine.load_average()
    try:
        missing = _environments(options)
        results, circumstances = _measure_all(options.shapes, missing, load_before=load_before)
    except ImportError:
        _say("explain: the kernel was not compiled here (is there a C compiler?), so there is nothing to measure")
        return 1
    print(as_table(results, circumstances))
    print("\n".join(("", *findings(results, circumstances))))
    if tuple(options.shapes) != SHAPES:
        _say("Only some sizes were measured, so the documents stay as they are.")
        return 0
    write_section(options.docs / "performance.md", "kernel", as_page(results, circumstances), command=COMMAND)
    write_figures(options.docs / "performance.json", "kernel", as_json(results, circumstances))
    _say("performance.md and performance.json are written.")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=COMMAND, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--install", action="store_true", help="install shapiq and XGBoost if they are missing")
    parser.add_argument("--python", type=Path, help="Python 3.12 for their environments; default: the one on the PATH")
    parser.add_argument(
        "--shapes", type=Shape.parse, nargs="+", default=SHAPES, metavar="TREESxLEAVES", help="sizes of models"
    )
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="where the results go; default: docs")
    return parser


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _environments(options: argparse.Namespace) -> dict[str, str]:
    """Return, by the peer's name, why it cannot be measured; install those that are missing if that was asked for."""
    failures: dict[str, str] = {}
    for peer in KERNEL_PEERS:
        if peer.environment.is_installed():
            continue
        if not options.install:
            failures[peer.name] = f"not installed; `{COMMAND} --install` does it"
            continue
        try:
            python = find_python(options.python)
            _say(f"Installing {peer.name} into var/peers (a minute, once) ...")
            peer.environment.install(python)
        except EnvironmentMissingError as error:
            failures[peer.name] = str(error)
    return failures


def _measure_all(
    shapes: Sequence[Shape], missing: Mapping[str, str], *, load_before: float
) -> tuple[list[Measured], Circumstances]:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    failures = dict(missing)
    with ExitStack() as stack:
        shop = _prepare(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kernel-"))))
        peers = _start(stack, shop.folder, failures)
        results = [_measure(shape, shop, peers, failures) for shape in shapes]
        found = {"this process": {"python": machine.system().rpartition("Python ")[2], **versions()}}
        found |= {peer.name: process.versions for peer, process in peers.items()}
    return results, Circumstances(
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        processor=machine.processor(),
        system=machine.system(),
        load_before=load_before,
        instruction_set=_instruction_set(),
        versions=found,
        missing={title: failures[p.name] for p in KERNEL_PEERS if p.name in failures for title in p.titles.values()},
    )


def _instruction_set() -> str:
    from model._treeshap import INSTRUCTION_SETS

    return str(INSTRUCTION_SETS[0])


def _prepare(folder: Path) -> Workshop:
    rows, label = training_rows(np.random.default_rng(SEED))
    asked = np.ascontiguousarray(rows[:ASKED_ROWS])
    for name, array in (("rows", rows), ("label", label), ("asked", asked)):
        np.save(folder / f"{name}.npy", array)
    return Workshop(folder, rows, label, asked)


def _start(stack: ExitStack, folder: Path, failures: dict[str, str]) -> dict[KernelPeer, PeerProcess]:
    started = {}
    for peer in KERNEL_PEERS:
        if peer.name in failures:
            continue
        _say(f"Starting {peer.name} ...")
        try:
            started[peer] = stack.enter_context(running(peer, folder))
        except PeerError as error:
            failures[peer.name] = str(error)
    return started


def _measure(
    shape: Shape, shop: Workshop, peers: Mapping[KernelPeer, PeerProcess], failures: dict[str, str]
) -> Measured:
    _say(f"{shape.name}: training ...")
    booster = train(shape, shop.rows, shop.label)
    booster.save_model(shop.folder / f"{shape.name}.txt")
    everyone: list[Timed] = [*ways(booster, shop.asked)]
    differences: dict[str, float] = {}
    for peer, process in peers.items():
        if peer.name in failures:
            continue
        try:
            theirs, said = process.load(shape.name)
        except PeerError as error:
            failures[peer.name] = str(error)
            continue
        everyone += theirs
        differences |= dict.fromkeys((way.name for way in theirs), _difference(said, booster, shop))
    _say(f"{shape.name}: measuring ...")
    nanoseconds, sizes = in_turn(everyone), {way.name: way.rows for way in everyone}
    timings = {name: timing(nanoseconds[name], rows=sizes[name]) for name in baseline_first([*nanoseconds])}
    return Measured(shape, _leaves(booster), exactness(booster, shop.asked), timings, differences)


def _difference(said: Mapping[str, Any], booster: lightgbm.Booster, shop: Workshop) -> float:
    """Return how far a peer's values are from LightGBM's or, of a model of its own, from its own margin."""
    if "compared" not in said:
        return float(said["from_margin"])
    return largest_difference(np.load(shop.folder / said["compared"]), booster, shop.asked[:COMPARED_ROWS])


def _leaves(booster: lightgbm.Booster) -> int:
    return sum(int(tree["num_leaves"]) for tree in booster.dump_model()["tree_info"])


def in_turn(
    everyone: Sequence[Timed], *, rounds: int = ROUNDS, seconds: float = SLICE_SECONDS, most: float = MOST_SECONDS
) -> dict[str, list[int]]:
    """Return the nanoseconds of each call, by the name of the way.

    In each round every way has a slice of the time, so that what drifts on the machine drifts for all of them. What has
    used up its time is left out of later rounds. A first round only warms up.
    """
    found: dict[str, list[int]] = {way.name: [] for way in everyone}
    spent = dict.fromkeys(found, 0.0)
    gc.disable()
    try:
        for number in range(rounds + 1):
            for way in everyone:
                if spent[way.name] >= most:
                    continue
                start = time.perf_counter()
                calls = way.run(seconds)
                if number:
                    found[way.name] += calls
                    spent[way.name] += time.perf_counter() - start
    finally:
        gc.enable()
    return found


if __name__ == "__main__":
    sys.exit(main())
