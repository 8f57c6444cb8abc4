"""Refreshed hour by hour or prepared from scratch: the statistics are the same to the last bit."""

import random
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.statistics import HOUR
from model.training.refresh import rings
from model.training.refresh.contract import RefreshError
from tests.model.training.histories import payment
from tests.model.training.refresh.banks import (
    DAY,
    FIRST,
    SPAN,
    Bank,
    Report,
    from_scratch,
    random_moment,
    random_row,
    refreshed,
    same,
)

IDS = 60  # few, so that many rows share one
START_HOUR = (FIRST + 40 * DAY) // HOUR


class Life:
    """A bank whose files come, change and go, and whose statistics are refreshed now and then."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.bank = Bank(folder / "bank")
        self.folder = folder
        self.draw = random.Random(seed)  # noqa: S311  no secret hangs on it
        self.hour = START_HOUR
        self.files = 0
        self.compared = 0

    def step(self) -> None:
        """Let some hours pass, let something happen to the files, refresh and compare."""
        self.hour = min(self.hour + self.draw.choice((0, 1, 1, 2, 30, 300)), (FIRST + SPAN) // HOUR)
        if not self.bank.rows:
            self.arrive()
        for happens in self.draw.choices(self._events(), k=self.draw.randrange(4)):
            happens()
        self.refresh()

    def _events(self) -> list[Callable[[], None]]:
        return [self.arrive, self.arrive, self.arrive, self.change, self.report, self.report, self.vanish, self.refresh]

    def arrive(self) -> None:
        self.files += 1
        self._write(f"{self.files:03}.{self.draw.choice(('parquet', 'csv', 'csv.gz'))}")

    def change(self) -> None:
        if self.bank.rows:
            name = self.draw.choice(sorted(self.bank.rows))
            if self.draw.random() < 0.5:
                self._write(name)
            else:  # the fraud of some rows is known by now
                self.bank.write(
                    name, [row | {"tx_fraud": self._known(row["tx_fraud"])} for row in self.bank.rows[name]]
                )

    def vanish(self) -> None:
        if len(self.bank.rows) > 1:
            self.bank.remove(self.draw.choice(sorted(self.bank.rows)))

    def report(self) -> None:
        self.files += 1
        lines = [self._report() for _ in range(self.draw.randrange(1, 12))]
        self.bank.write_reports(f"{self.files:03}.{self.draw.choice(('parquet', 'csv'))}", lines)

    def _report(self) -> Report:
        number = self.draw.randrange(IDS)
        return Report(number, random_moment(self.draw, number), self.draw.choice((1, 1, 1, 0, None)))

    def _known(self, label: int | None) -> int | None:
        return 1 if label in (0, None) and self.draw.random() < 0.4 else label

    def _write(self, name: str) -> None:
        numbers = [self.draw.randrange(IDS) for _ in range(self.draw.randrange(1, 40))]
        # One clean row in each, or no value of a small file might be readable.
        clean = payment(1000 + self.files, report_datetime=None)
        self.bank.write(name, [clean, *(random_row(self.draw, number) for number in numbers)])

    def refresh(self) -> None:
        if not self.bank.rows:
            return
        with tempfile.TemporaryDirectory(dir=self.folder) as work:
            expected = from_scratch(self.bank, as_of_hour=self.hour, work=Path(work))
            self.bank.task()  # makes the folder of reports
            apart = from_scratch(self.bank, as_of_hour=self.hour, work=Path(work), reports_apart=True)
        assert expected is not None
        assert apart is not None
        assert same(expected, apart)
        if not len(expected.customer.keys):
            with pytest.raises(RefreshError, match="no transaction"):
                refreshed(self.bank.task(self.hour))
            return
        fresh = refreshed(self.bank.task(self.hour))
        assert fresh.snapshot is not None
        assert same(fresh.snapshot, expected)
        assert fresh.notes == ()  # no sum had drifted
        self.compared += 1


@settings(max_examples=4)
@given(st.integers(0, 2**32 - 1))
def test_any_history_in_any_pieces_gives_what_a_preparation_from_scratch_gives(seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        if seed % 4:  # as in a large bank, where what changes in an hour is little
            patch.setattr(rings, "_MOST_ROWS", 100.0)
            patch.setattr(rings, "_MOST_HOURS", 10_000)
        life = Life(Path(folder), seed)
        for _ in range(5):
            life.step()
