"""From figures to a verdict, a JSON file and a section of an HTML page."""

import html
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtest.ledger import LoadResult
from loadtest.profiles import Stage

PASSED, MISSED, WRONG_USAGE, UNRELIABLE = 0, 1, 2, 3  # exit codes
# Of a stage's limit for p99: a generator whose own lag (p99) is more than that may be the slow one itself, and what it
# sends late comes in bunches, which are refused sooner.
MAX_LAG = 0.4

_WORDS = {
    PASSED: "passed",
    MISSED: "limits missed",
    UNRELIABLE: "no verdict: limits missed, but the generator itself was late",
}
_COLUMNS = {
    "rate": "due/s",
    "due": "due",
    "sent": "sent",
    "answered": "200",
    "refused": "503, come again",
    "client_errors": "4xx",
    "server_errors": "other status",
    "transport_errors": "transport",
    "unsent": "unsent",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "max_ms": "max ms",
    "refused_p99_ms": "503 p99 ms",
    "lag_ms": "own lag p99 ms",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the limits held, and which did not."""

    exit_code: int
    breaches: tuple[str, ...]

    @property
    def words(self) -> str:
        """The verdict in a few words."""
        return _WORDS[self.exit_code]

    def with_breaches(self, more: Sequence[str]) -> "Verdict":
        """Return the verdict with limits that were missed for reasons no late generator can explain."""
        return Verdict(MISSED, (*self.breaches, *more)) if more else self


def judge(stages: Sequence[Stage], results: Sequence[LoadResult]) -> Verdict:
    """Hold each stage to its limits.

    A late generator can only make a service look worse, since latency counts from due. So limits that held have held,
    and limits that were missed prove nothing where the generator was late.
    """
    late: list[bool] = []
    breaches: list[str] = []
    for stage, result in zip(stages, results, strict=True):
        found = stage.breaches(result)
        breaches += found
        late += [bool(found) and stage.limits is not None and result.lag_ms > MAX_LAG * stage.limits.p99_ms]
    if not breaches:
        return Verdict(PASSED, ())
    return Verdict(UNRELIABLE if any(late) else MISSED, tuple(breaches))


def describe_machine() -> dict[str, Any]:
    """Return what a figure depends on: processor, cores, system, and how busy it is."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "load_average": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write a JSON file whole or not at all: a reader never sees half of it."""
    text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    with unfinished.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def render_table(stages: Sequence[Stage], results: Sequence[LoadResult], verdict: Verdict) -> str:
    """Return verdict and figures as lines of text."""
    rows = [("stage", *_COLUMNS.values()), *_rows(stages, results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join((*lines, "", verdict.words, *(f"  {breach}" for breach in verdict.breaches)))


def insert_section(
    page: str, title: str, stages: Sequence[Stage], results: Sequence[LoadResult], verdict: Verdict
) -> str:
    """Return Locust's HTML page with verdict, limits and the account of all requests on top."""
    marker = '<div id="root">'
    if marker not in page:
        raise ValueError("this is not a report of Locust as this code knows it")
    return page.replace(marker, _section(title, stages, results, verdict) + marker, 1)


def _section(title: str, stages: Sequence[Stage], results: Sequence[LoadResult], verdict: Verdict) -> str:
    colour = "#1b7a3d" if verdict.exit_code == PASSED else "#b3261e"
    head = "".join(f"<th>{html.escape(name)}</th>" for name in ("stage", "limits", *_COLUMNS.values()))
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in (name, _limits(stage), *cells)) + "</tr>"
        for stage, (name, *cells) in zip(stages, _rows(stages, results), strict=True)
    )
    breaches = "".join(f"<li>{html.escape(breach)}</li>" for breach in verdict.breaches)
    return f"""<section id="verdict">
<style>
#verdict {{ font: 14px/1.5 sans-serif; padding: 16px 24px; background: #fff; color: #222; }}
#verdict table {{ border-collapse: collapse; }}
#verdict th, #verdict td {{ border: 1px solid #ccc; padding: 2px 8px; text-align: right; white-space: nowrap; }}
</style>
<h1 style="color: {colour}">{html.escape(title)}: {html.escape(verdict.words)}</h1>
<ul>{breaches}</ul>
<table><tr>{head}</tr>{rows}</table>
<p>Arrivals come at a fixed rate. All times, also those below, count from the moment a payment was due.
due = 200 + 503 + 4xx + other status + transport errors + unsent. The RPS that Locust gives for a row is spread over the
whole run.</p>
</section>
"""


def _limits(stage: Stage) -> str:
    limits = stage.limits
    if limits is None:
        return "not judged"
    least = f", at least {limits.answered_rate:g}/s answered" if limits.answered_rate else ""
    return f"p99 {limits.p99_ms:g} ms, refused {limits.refused:.1%}, errors {limits.errors:.1%}{least}"


def _rows(stages: Sequence[Stage], results: Sequence[LoadResult]) -> list[tuple[str, ...]]:
    return [
        (stage.name, *(_cell(result.as_json()[name]) for name in _COLUMNS))
        for stage, result in zip(stages, results, strict=True)
    ]


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,.2f}" if isinstance(value, float) else f"{value:,}"
