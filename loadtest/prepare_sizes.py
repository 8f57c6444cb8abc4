"""From which size on Spark is worth it: `antifraud prepare` in DuckDB and in Spark, on the same two cores.

Each run is the whole command in a process of its own, start included, with the same limit of memory. Histories are made
by one query each, Parquet in folders `date=`: a month, a million customers, a thousand terminals, a little dirt.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loadtest.peers.catalogue import ROOT
from loadtest.report import describe_machine, write_json
from loadtest.sections import table, write_section

WORK = ROOT / "var" / "prepare-sizes"
PAGE = ROOT / "docs" / "spark.md"
FIGURES = ROOT / "docs" / "spark.json"
COMMAND = "python -m loadtest.prepare_sizes"
ROWS = (1_000_000, 10_000_000, 47_000_000)
ENGINES = ("duckdb", "spark")
CUSTOMERS, TERMINALS, DAYS = 1_000_000, 1_000, 30
CORES = 2
MEMORY = "4GB"
LIMIT_SECONDS = 900
_KEY = "an id key for measuring only"
_SAMPLE_SECONDS = 1.0
_DAY_QUERY = """
    SELECT
        CASE WHEN i % 1000 = 7 THEN i - 1 ELSE i END AS transaction_id,
        CASE WHEN i % 2000 = 3 THEN NULL
            ELSE TIMESTAMP '2026-01-01' + INTERVAL {day} DAY + to_seconds(CAST(hash(i) % 86400 AS BIGINT))
        END AS tx_datetime,
        CASE WHEN i % 2000 = 5 THEN -999999 ELSE CAST(hash(i * 3 + 1) % {customers} AS BIGINT) END AS customer_id,
        -- A tenth of the terminals takes two thirds of the payments.
        CAST(pow((hash(i * 5 + 2) % 1000000) / 1000000.0, 6) * {terminals} AS BIGINT) AS terminal_id,
        round(exp((hash(i * 7 + 3) % 1000000) / 1000000.0 * 6), 2) AS tx_amount,
        CAST(hash(i * 11 + 4) % 20 = 0 AS BIGINT) AS tx_fraud,
        CAST(hash(i * 11 + 4) % 20 = 0 AS BIGINT) * 2 AS tx_fraud_scenario
    FROM range({first}, {end}) AS rows (i)
"""


@dataclass(frozen=True, slots=True)
class Run:
    """What one run took.

    Attributes
    ----------
    seconds
        From the start of the command to its end; None if it did not finish within the limit.
    memory_mb
        Most that its processes held at one time, shared pages counted once.
    scratch_mb
        Most that lay in its scratch folder at one time: what did not fit into memory, and what lies there anyway.
    """

    engine: str
    rows: int
    seconds: float | None
    memory_mb: int
    scratch_mb: int
    cleaning: dict[str, Any] | None

    @property
    def rate(self) -> float | None:
        """Rows of history a second."""
        return self.rows / self.seconds if self.seconds else None


class MeasureError(RuntimeError):
    """A run failed, or the two engines do not agree."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write the documents; return 0 if the engines agree, 2 if they do not or one failed."""
    options = _parser().parse_args(arguments)
    try:
        runs = [run for rows in sorted(options.rows) for run in measure(rows, options)]
    except (MeasureError, OSError) as error:
        print(f"prepare-sizes: {error}", file=sys.stderr)
        return 2
    document = _with_earlier(options.figures, runs)
    write_json(options.figures, document)
    write_section(options.page, "sizes", as_page(document), command=COMMAND)
    print(as_page(document))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=COMMAND, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS, help="default: 1, 10 and 47 million")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=ENGINES, help="default: both")
    parser.add_argument("--limit", type=float, default=LIMIT_SECONDS, help="longest run, in seconds; default: 900")
    parser.add_argument("--work", type=Path, default=WORK, help="folder for histories; default: var/prepare-sizes")
    parser.add_argument("--page", type=Path, default=PAGE, help="default: docs/spark.md")
    parser.add_argument("--figures", type=Path, default=FIGURES, help="default: docs/spark.json")
    return parser


def measure(rows: int, options: argparse.Namespace) -> list[Run]:
    """Return a run of each engine over a history of so many rows; whether they agree is checked."""
    history = make_history(options.work / f"{rows}", rows)
    (options.work / "id.key").write_text(_KEY, encoding="utf-8")
    runs = []
    for engine in options.engines:
        _say(f"{rows:,} rows in {engine} ...")
        runs.append(run_engine(engine, rows, history, options.work, limit=options.limit))
        _say(f"  {runs[-1].seconds or 'not finished'} s, {runs[-1].memory_mb:,} MB")
    answers = [run.cleaning for run in runs if run.cleaning is not None]
    if any(answer != answers[0] for answer in answers):
        raise MeasureError(f"the engines clean {rows:,} rows in different ways: {answers}")
    return runs


def make_history(folder: Path, rows: int) -> Path:
    """Write a history, unless it is there already, and return its folder."""
    import duckdb

    if (folder / "_made").is_file():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    _say(f"making {rows:,} rows ...")
    with duckdb.connect(config={"threads": CORES}) as connection:
        connection.execute("SET enable_progress_bar = false")
        for day in range(DAYS):
            query = _DAY_QUERY.format(
                day=day,
                customers=CUSTOMERS,
                terminals=TERMINALS,
                first=rows * day // DAYS,
                end=rows * (day + 1) // DAYS,
            )
            path = folder / f"date=2026-01-{day + 1:02}" / "part-0.parquet"
            path.parent.mkdir(parents=True)
            connection.execute(f"COPY ({query}) TO '{path}' (FORMAT parquet, COMPRESSION zstd)")
    (folder / "_made").touch()
    return folder


def run_engine(engine: str, rows: int, history: Path, work: Path, *, limit: float) -> Run:
    """Run the command, look at its processes while it works, and return what it took."""
    out, scratch = work / "out", work / "scratch"
    for folder in (out, scratch):
        shutil.rmtree(folder, ignore_errors=True)
    scratch.mkdir(parents=True)
    command = [
        *(sys.executable, "-m", "antifraud", "prepare", "--engine", engine, "--as-of", "data"),
        *("--history", str(history), "--out", str(out), "--work-folder", str(scratch)),
        *("--id-key-file", str(work / "id.key"), "--memory-limit", MEMORY, "--threads", str(CORES)),
        *("--spark", f"spark.master=local[{CORES}]", "--spark", f"spark.local.dir={scratch}"),
    ]
    log = work / f"{engine}-{rows}.log"
    began = time.monotonic()
    with log.open("w") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, start_new_session=True, cwd=work)
        memory, disk = _watch(process, scratch, until=began + limit)
    seconds: float | None = round(time.monotonic() - began, 1)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        seconds = None
    elif process.returncode:
        raise MeasureError(f"{engine} failed on {rows:,} rows; see {log}")
    cleaning = _cleaning(out) if seconds else None
    for folder in (out, scratch):
        shutil.rmtree(folder, ignore_errors=True)
    return Run(engine, rows, seconds, memory, disk, cleaning)


def _cleaning(out: Path) -> dict[str, Any]:
    (path,) = out.glob("_snapshot-*/cleaning.json")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _watch(process: "subprocess.Popen[bytes]", scratch: Path, *, until: float) -> tuple[int, int]:
    """Return the most memory of its session's processes and the most in its scratch folder, both in MB."""
    memory = disk = 0
    while process.poll() is None and time.monotonic() < until:
        memory = max(memory, sum(_memory_kb(path) for path in _members(process.pid)) >> 10)
        disk = max(disk, _size(scratch) >> 20)
        time.sleep(_SAMPLE_SECONDS)
    return memory, disk


def _members(session: int) -> list[Path]:
    """Return the folders in /proc of a session's processes: Java and Python's workers are among them."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            fields = (path / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session:
            found.append(path)
    return found


def _memory_kb(process: Path) -> int:
    try:
        lines = (process / "smaps_rollup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def _size(folder: Path) -> int:
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(root) / name).stat().st_size
            except OSError:  # gone since it was listed
                continue
    return total


def _with_earlier(path: Path, runs: list[Run]) -> dict[str, Any]:
    """Return what was measured now, and of other sizes and engines what was measured before."""
    earlier = json.loads(path.read_text(encoding="utf-8"))["runs"] if path.is_file() else []
    now = {(run.rows, run.engine) for run in runs}
    kept = [run for run in earlier if (run["rows"], run["engine"]) not in now]
    date = datetime.now(UTC).strftime("%Y-%m-%d")
    found = [{**asdict(run), "date": date, "rows_a_second": run.rate and round(run.rate)} for run in runs]
    return {
        "machine": describe_machine(),
        "cores": CORES,
        "memory": MEMORY,
        "repeat": COMMAND,
        "runs": sorted([*kept, *found], key=lambda run: (run["rows"], run["engine"])),
    }


def as_page(document: dict[str, Any]) -> str:
    """Return the section of the page, Markdown."""
    rows = [
        [
            f"{run['rows'] / 1e6:g} million",
            run["engine"],
            f"{run['seconds']:,.0f}" if run["seconds"] else "did not finish",
            f"{run['rows_a_second']:,}" if run["rows_a_second"] else "-",
            f"{run['memory_mb'] / 1024:.1f}",
            f"{run['scratch_mb'] / 1024:.1f}",
        ]
        for run in document["runs"]
    ]
    head = ["rows", "engine", "seconds", "rows a second", "memory, GB", "scratch on disk, GB"]
    about = f"{document['machine']['processor']}, {document['cores']} cores, limit of memory {document['memory']}."
    return f"{about}\n\n{table(head, rows)}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
