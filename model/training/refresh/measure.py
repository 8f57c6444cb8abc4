"""How long a refresh takes at the size of a large bank: `python -m model.training.refresh.measure --help`.

Takes a simulated history of one Parquet file a day, splits its last day into hours, builds the state up to noon and
then lets the hours come one by one, each followed by a whole `antifraud refresh` in a process of its own.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import duckdb

from model.training.reading import quoted
from model.training.refresh.run import FOLDER, LAST_RUN

NOON = 12
_ENVIRONMENT = {"FRAUD_ID_KEY": "a key that is good for measuring only"}


@dataclass(frozen=True, slots=True)
class Measured:
    """One refresh: wall-clock and processor seconds, peak memory in MB, and what it said itself."""

    what: str
    seconds: float
    processor_seconds: float
    peak_mb: float
    said: dict[str, object]

    @property
    def stages(self) -> dict[str, float]:
        """Seconds of each stage."""
        found = self.said["seconds"]
        return {str(name): float(seconds) for name, seconds in found.items()} if isinstance(found, dict) else {}


def split_last_day(history: Path, folder: Path) -> list[Path]:
    """Link all days of a history but the last into a folder, and write the last as hours beside it; return the hours.

    Raises
    ------
    ValueError
        If the history is not a folder of at least two Parquet files.
    """
    days = sorted(history.glob("*.parquet"))
    if len(days) < 2:
        raise ValueError(f"history {history}: expected a folder of Parquet files, one a day")
    (folder / "history").mkdir(parents=True)
    (folder / "waiting").mkdir()
    for day in days[:-1]:
        (folder / "history" / day.name).symlink_to(day.absolute())
    last = quoted(str(days[-1].absolute()))
    hours = [folder / "waiting" / f"{days[-1].stem}-{hour:02}.parquet" for hour in range(24)]
    for hour, path in enumerate(hours):
        rows = f"SELECT * FROM read_parquet({last}) WHERE EXTRACT(HOUR FROM tx_datetime) = {hour}"
        duckdb.execute(f"COPY ({rows}) TO {quoted(str(path))} (FORMAT parquet)")
    return hours


def measured(what: str, folder: Path, *options: str) -> Measured:
    """Run one refresh of the folder's history and measure it from outside."""
    command = [sys.executable, "-m", "antifraud", "refresh", "--history", str(folder / "history")]
    command += ["--work-folder", str(folder / "work"), *options]
    begun = time.perf_counter()
    child = subprocess.Popen(  # noqa: S603  our own command
        command, env=os.environ | _ENVIRONMENT, stdout=subprocess.DEVNULL
    )
    _, status, used = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - begun
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{what}: the refresh ended with exit code {child.returncode}")
    said = json.loads((folder / "work" / FOLDER / LAST_RUN).read_text(encoding="utf-8"))
    return Measured(what, seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, said)


def measure(history: Path, folder: Path, *, hours: int, options: list[str]) -> list[Measured]:
    """Measure the first run, some hourly ones, and one that has nothing to do."""
    waiting = split_last_day(history, folder)
    for path in waiting[:NOON]:
        path.rename(folder / "history" / path.name)
    found = [measured("first run", folder, *options)]
    for path in waiting[NOON : NOON + hours]:
        path.rename(folder / "history" / path.name)
        found.append(measured("one more hour", folder, *options))
    return [*found, measured("nothing new", folder, *options)]


def render(found: list[Measured], state_mb: float) -> str:
    """Return what was measured as a table in Markdown."""
    stages = list(dict.fromkeys(name for one in found for name in one.stages))
    head = ["run", "rows read", "wall s", "processor s", "peak MB", *(f"{name} s" for name in stages)]
    lines = [head, ["---"] * len(head)]
    for one in found:
        figures = [f"{one.seconds:.1f}", f"{one.processor_seconds:.1f}", f"{one.peak_mb:.0f}"]
        parts = [f"{one.stages[name]:.1f}" if name in one.stages else "" for name in stages]
        lines.append([one.what, f"{one.said['rows_read']:,}", *figures, *parts])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{table}\n\nstate on disk: {state_mb:.0f} MB"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure `antifraud refresh` on a simulated history.")
    parser.add_argument("--history", type=Path, required=True, metavar="DIR", help="one Parquet file a day")
    parser.add_argument("--folder", type=Path, required=True, metavar="DIR", help="new folder for all that is made")
    parser.add_argument("--hours", type=int, default=3, metavar="N", help="hourly runs, 1 to 12; default: 3")
    parser.add_argument("options", nargs="*", metavar="-- OPTION", help="further options of `antifraud refresh`")
    given = parser.parse_args()
    found = measure(given.history, given.folder, hours=given.hours, options=given.options)
    state = sum(path.stat().st_size for path in (given.folder / "work" / FOLDER).glob("state.duckdb*"))
    sys.stdout.write(render(found, state / 1e6) + "\n")


if __name__ == "__main__":
    main()
