"""A bank of any size: a trained champion beside statistics of made-up customers, in an embedded registry of its own."""

import random
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt

from loadtest.explain_engines import Shape
from loadtest.payments import Payment
from model.bundle import write_snapshot
from model.features import schema_fingerprint
from model.registry import (
    CHAMPION,
    CURRENT,
    MODEL_NAME,
    STATISTICS_NAME,
    RegistryError,
    RegistryReader,
    Version,
    embedded_uri,
    open_publisher,
    open_reader,
)
from model.settings import load_settings
from model.statistics import HOUR, QUANTITIES, SUMS, EntityStatistics, Snapshot, windows_of
from model.transaction import IdHasher

TERMINALS = 1000  # requirement
KNOWN_BY_NAME = 100_000  # customers that can be asked about; the others have a random hash
AS_OF_HOUR = 490_000  # any hour will do: 2025-11-24T16:00Z
PAYMENTS_A_MONTH = 47.0  # of a customer: 47 million a month of a million customers
# The terminals' traffic is that of a million customers in every case. Were it to grow with the customers, answers would
# give other reasons, in longer words, and the cost of these would be taken for the cost of customers.
PAYMENTS_OF_TERMINAL = PAYMENTS_A_MONTH * 1_000_000 / TERMINALS
_CHUNK = 250_000  # customers at a time
_LEAVES = re.compile(r"^num_leaves=(\d+)$", re.MULTILINE)

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Case:
    """What a service is measured with."""

    shape: Shape
    customers: int

    @property
    def name(self) -> str:
        """For a folder and for messages."""
        return f"{self.shape.name}-{self.customers}"


def customer(number: int) -> str:
    """Return the id of a customer that can be asked about."""
    return f"C{number}"


def terminal(number: int) -> str:
    """Return the id of a terminal."""
    return f"T{number}"


def is_current(trained: Path) -> bool:
    """Return whether a bank's champion has the features of this version of the code."""
    try:
        return _champion(trained)[1].tags.get("feature_schema") == schema_fingerprint()
    except (RegistryError, ValueError, OSError):
        return False


def _champion(trained: Path) -> tuple[RegistryReader, Version]:
    reader = open_reader(embedded_uri(trained))
    return reader, reader.resolve(MODEL_NAME, CHAMPION)


def make_bank(case: Case, trained: Path, folder: Path, *, registry: str = "") -> int:
    """Make a work folder that the service can be started in; return the leaves of all its trees.

    Parameters
    ----------
    trained
        Work folder of a bank with a champion of the case's shape, as `antifraud run` makes it; its id key is kept.
    folder
        New or of an earlier run, which is replaced.
    registry
        Address of a server to publish to; empty makes an embedded one in the folder.
    """
    shutil.rmtree(folder, ignore_errors=True)
    staged = folder / "staged"
    staged.mkdir(parents=True)
    shutil.copyfile(trained / "id.key", folder / "id.key")
    (folder / "id.key").chmod(0o600)
    settings = load_settings(work_folder=folder, id_key_file=folder / "id.key")
    reader, champion = _champion(trained)
    reader.download(champion, staged / MODEL_NAME)
    leaves = _LEAVES.findall((staged / MODEL_NAME / "model.txt").read_text(encoding="utf-8"))
    snapshot = make_snapshot(case.customers, settings.id_hasher(), np.random.default_rng(case.customers))
    fingerprint = settings.id_hasher().fingerprint
    digest = write_snapshot(staged / STATISTICS_NAME, snapshot, id_key_fingerprint=fingerprint, facts={})
    tags = {"id_key_fingerprint": fingerprint, "feature_schema": schema_fingerprint(), "manifest_sha256": digest}
    publisher = open_publisher(registry or embedded_uri(folder))
    with publisher.run("sizes", case.name, {}) as run:
        for name, alias, described in ((MODEL_NAME, CHAMPION, champion.tags), (STATISTICS_NAME, CURRENT, tags)):
            version = publisher.publish(name, staged / name, run_id=run.run_id, tags=described)
            publisher.set_alias(name, alias, version.version)
    shutil.rmtree(staged)
    return sum(map(int, leaves))


def make_snapshot(customers: int, hasher: IdHasher, rng: np.random.Generator) -> Snapshot:
    """Return statistics of so many customers and of a thousand terminals, with plausible sums."""
    named = min(customers, KNOWN_BY_NAME)
    customer_keys = make_keys(hasher.customer, customer, named=named, count=customers, rng=rng)
    terminal_keys = make_keys(hasher.terminal, terminal, named=TERMINALS, count=TERMINALS, rng=rng)
    return Snapshot(
        AS_OF_HOUR,
        EntityStatistics(customer_keys, make_sums("customer", customers, rng, payments=PAYMENTS_A_MONTH)),
        EntityStatistics(terminal_keys, make_sums("terminal", TERMINALS, rng, payments=PAYMENTS_OF_TERMINAL)),
    )


def make_keys(
    hash_id: Callable[[str], int], identify: Callable[[int], str], *, named: int, count: int, rng: np.random.Generator
) -> Integers:
    """Return so many different keys, sorted, the first ones' ids known: hashes are as good as random numbers."""
    keys = np.array([hash_id(identify(number)) for number in range(named)], dtype=np.int64)
    keys = np.unique(keys)
    while len(keys) < count:
        limits = np.iinfo(np.int64)
        more = rng.integers(limits.min, limits.max, size=count - len(keys), dtype=np.int64)
        keys = np.union1d(keys, more)
    return keys


def make_sums(entity: str, count: int, rng: np.random.Generator, *, payments: float) -> Floats:
    """Return sums of so many keys, columns `SUM_COLUMNS[entity]`: a longer window holds the shorter ones.

    Parameters
    ----------
    payments
        Of one of them in the longest window, on average.
    """
    sums = np.empty((count, len(SUMS[entity])))
    windows = windows_of(entity)
    names = list(windows)
    for start in range(0, count, _CHUNK):
        part = sums[start : start + _CHUNK]
        known = _sums(len(part), list(windows.values()), rng, payments=payments)
        for place, one in enumerate(SUMS[entity]):
            part[:, place] = known[:, names.index(one.window), QUANTITIES.index(one.quantity)]
    return sums


def _sums(count: int, hours: list[int], rng: np.random.Generator, *, payments: float) -> Floats:
    habit = rng.gamma(2.0, 0.5, size=count) * payments  # some pay often, most do not
    mean = rng.lognormal(8.0, 0.7, size=count)  # in hundredths: 30.00 in the middle
    known = np.zeros((count, len(hours), len(QUANTITIES)))
    for place, (shorter, longer) in enumerate(zip([0, *hours], hours, strict=False)):
        n = rng.poisson(habit * (longer - shorter) / hours[-1])
        amount = np.rint(n * mean * rng.uniform(0.9, 1.1, size=count))
        # Never less than equal amounts would give, or there would be a spread below zero.
        squared = np.rint(np.divide(amount * amount, n, where=n > 0, out=np.zeros(count)) * 1.3)
        reports = rng.binomial(n, 0.001)
        known[:, place:] += np.stack((n, amount, squared, reports), axis=1)[:, None, :]
    return known


def make_payments(case: Case, rng: random.Random, *, count: int = KNOWN_BY_NAME) -> list[Payment]:
    """Return payments of known customers, each of another one as long as there are any, at known terminals."""
    start = datetime.fromtimestamp(AS_OF_HOUR * HOUR, UTC)
    named = min(case.customers, KNOWN_BY_NAME)
    return [
        Payment(
            start + timedelta(seconds=rng.randrange(24 * HOUR)),
            customer(number % named),
            terminal(rng.randrange(TERMINALS)),
            round(rng.lognormvariate(3.4, 0.9), 2),
        )
        for number in range(count)
    ]
