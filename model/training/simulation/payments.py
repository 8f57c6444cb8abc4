"""The payments of one day and the frauds among them."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from model.training.simulation.population import Floats, Ints, Population
from model.training.simulation.settings import SimulationSettings
from model.training.simulation.streams import Stream, generator

AMOUNT_SPREAD_RATIO = 0.5  # BOOK: a customer's spread is half of the mean amount
NOON_SECOND = 43_200
TIME_SPREAD_S = 20_000  # BOOK
DAY_SECONDS = 86_400

LARGE_AMOUNT = 220.0  # BOOK, scenario 1: any larger amount is fraud
TERMINAL_TAKEOVER_DAYS = 28  # BOOK, scenario 2
CUSTOMER_TAKEOVER_DAYS = 14  # BOOK, scenario 3
STOLEN_CARD_SHARE = 1 / 3  # BOOK, scenario 3: share of the customer's payments that the thief makes
STOLEN_CARD_FACTOR = 5.0  # BOOK, scenario 3: the thief's amounts against the customer's

Mask = npt.NDArray[np.bool_]


class Scenario(IntEnum):
    """Name the reasons why a payment is fraud, as `tx_fraud_scenario` numbers them."""

    HONEST = 0
    LARGE_AMOUNT = 1
    TERMINAL_TAKEN = 2
    CUSTOMER_TAKEN = 3


@dataclass(frozen=True, slots=True)
class Payments:
    """Hold one day's payments in time order, one array a field, all of the same length."""

    customer: Ints
    terminal: Ints
    amount: Floats
    second: Ints  # of the day
    scenario: Ints

    def __len__(self) -> int:
        return len(self.customer)


def draw_day(settings: SimulationSettings, population: Population, day: int) -> Payments:
    """Return the payments of day `day` (0 is the start) with their frauds, without any earlier day."""
    rng = generator(settings, Stream.PAYMENTS, day)
    customer, second = _draw_times(rng, population)
    terminal = _draw_terminals(rng, population, customer)
    amount = _draw_amounts(rng, population.mean_amount[customer])
    honest = Payments(customer, terminal, amount, second, np.zeros(len(customer), dtype=np.int64))
    return _commit_frauds(rng, settings, honest, day)


def _draw_times(rng: np.random.Generator, population: Population) -> tuple[Ints, Ints]:
    """Return customer and second of the day of each payment, in time order."""
    count = rng.poisson(population.payments_per_day)
    customer = np.repeat(np.arange(len(count)), count)
    second = rng.normal(NOON_SECOND, TIME_SPREAD_S, len(customer)).astype(np.int64)
    inside = (second > 0) & (second < DAY_SECONDS)  # BOOK: a payment that falls on another day is not made
    customer, second = customer[inside], second[inside]
    order = np.argsort(second, kind="stable")
    return customer[order], second[order]


def _draw_terminals(rng: np.random.Generator, population: Population, customer: Ints) -> Ints:
    start = population.reach_start[customer]
    size = population.reach_start[customer + 1] - start
    place: Ints = start + rng.integers(size)
    return population.reached[place].astype(np.int64)


def _draw_amounts(rng: np.random.Generator, mean: Floats) -> Floats:
    amount = rng.normal(mean, AMOUNT_SPREAD_RATIO * mean)
    negative = amount < 0
    amount[negative] = rng.uniform(0, 2 * mean[negative])
    return np.round(amount, 2)


# --- frauds -----------------------------------------------------------------------------------------------------------


def terminals_taken(settings: SimulationSettings, day: int) -> Ints:
    """Return the terminals in a thief's hands on `day`, taken over on `(day - 28, day]`; one may come twice."""
    days = _takeover_days(settings, day, TERMINAL_TAKEOVER_DAYS)
    count, size = settings.terminals, settings.terminals_taken_per_day
    return _draw_taken(settings, Stream.TERMINALS_TAKEN, days, count=count, size=size)


def customers_taken(settings: SimulationSettings, day: int) -> Ints:
    """Return the customers whose card is stolen on `day`, taken over on `(day - 14, day]`; one may come twice."""
    days = _takeover_days(settings, day, CUSTOMER_TAKEOVER_DAYS)
    count, size = settings.customers, settings.customers_taken_per_day
    return _draw_taken(settings, Stream.CUSTOMERS_TAKEN, days, count=count, size=size)


def _takeover_days(settings: SimulationSettings, day: int, length: int) -> range:
    """Return the days whose takeovers still last on `day`."""
    earliest = day - length + 1
    return range(earliest if settings.takeovers_before_start else max(0, earliest), day + 1)


def _draw_taken(settings: SimulationSettings, stream: Stream, days: range, *, count: int, size: int) -> Ints:
    return np.concatenate([generator(settings, stream, day).choice(count, size, replace=False) for day in days])


def _commit_frauds(rng: np.random.Generator, settings: SimulationSettings, honest: Payments, day: int) -> Payments:
    """Return the payments with the day's frauds; a later scenario overrides an earlier one."""
    scenario = np.where(honest.amount > LARGE_AMOUNT, Scenario.LARGE_AMOUNT, Scenario.HONEST).astype(np.int64)
    scenario[_among(honest.terminal, terminals_taken(settings, day), settings.terminals)] = Scenario.TERMINAL_TAKEN
    stolen = _among(honest.customer, customers_taken(settings, day), settings.customers)
    stolen &= rng.random(len(honest)) < STOLEN_CARD_SHARE
    scenario[stolen] = Scenario.CUSTOMER_TAKEN
    amount = np.where(stolen, np.round(honest.amount * STOLEN_CARD_FACTOR, 2), honest.amount)
    return Payments(honest.customer, honest.terminal, amount, honest.second, scenario)


def _among(number: Ints, chosen: Ints, count: int) -> Mask:
    """Return which numbers are chosen, by a lookup table: `np.isin` would sort millions."""
    table = np.zeros(count, dtype=np.bool_)
    table[chosen] = True
    among: Mask = table[number]
    return among
