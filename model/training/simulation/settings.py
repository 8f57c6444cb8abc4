"""What a simulated bank is like: its settings with their rules, and two banks to start from."""

import math
from dataclasses import dataclass
from datetime import date

GRID_SIDE = 100.0  # BOOK: customers and terminals live on a square of this side
COUNT_MAX = 100_000_000  # customers or terminals; what a machine's memory still holds
LINKS_MAX = 500_000_000  # customer-to-terminal links, 4 bytes each


class SimulationError(ValueError):
    """Say which setting, folder or file stops the simulation, and why."""


def _require_int(name: str, value: object, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        raise SimulationError(f"{name} must be a whole number from {low} to {high}, got {value!r}")


def _require_number(name: str, value: object, low: float, high: float) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise SimulationError(f"{name} must be a number from {low:g} to {high:g}, got {value!r}")


def _require_date(name: str, value: object) -> None:
    if type(value) is not date:
        raise SimulationError(f"{name} must be a date without a time, got {value!r}")


def _require_bool(name: str, value: object) -> None:
    if type(value) is not bool:
        raise SimulationError(f"{name} must be true or false, got {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationSettings:
    """Describe a bank and the history asked of it.

    Raises
    ------
    SimulationError
        When a value breaks its rule; the message names the field and the rule.
    """

    customers: int
    terminals: int
    days: int
    start: date = date(2026, 1, 1)
    seed: int = 0
    dirt: float = 0.0
    """Share of rows, 0 to 1, for each kind of dirt: missing time, repeated transaction id, id of -999999."""
    terminals_taken_per_day: int = 2
    customers_taken_per_day: int = 3
    radius: float = 5.0
    """A customer pays at the terminals within this distance, on a grid of side 100."""
    takeovers_before_start: bool = True
    """Whether takeovers are under way on the first day, as in any bank; the book's history starts without one."""

    def __post_init__(self) -> None:
        for name in ("customers", "terminals"):
            _require_int(name, getattr(self, name), 1, COUNT_MAX)
        _require_date("start", self.start)
        _require_int("days", self.days, 1, (date.max - self.start).days)
        _require_int("seed", self.seed, 0, 2**128 - 1)
        _require_int("terminals_taken_per_day", self.terminals_taken_per_day, 0, self.terminals)
        _require_int("customers_taken_per_day", self.customers_taken_per_day, 0, self.customers)
        _require_number("dirt", self.dirt, 0.0, 1.0)
        _require_number("radius", self.radius, 0.0, GRID_SIDE * math.sqrt(2))
        _require_bool("takeovers_before_start", self.takeovers_before_start)
        links = self.customers * self.terminals * min(1.0, math.pi * self.radius**2 / GRID_SIDE**2)
        if links > LINKS_MAX:
            rule = f"customers times terminals in reach must be at most {LINKS_MAX}"
            raise SimulationError(f"radius is too large: {rule}, got about {links:.0f}")


PROFILES: dict[str, SimulationSettings] = {
    "small": SimulationSettings(customers=2_000, terminals=4_000, days=90),
    "bank": SimulationSettings(customers=1_000_000, terminals=1_000, days=30),
}
