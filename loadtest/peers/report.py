"""The results as a table, as a page for readers and as JSON for programs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loadtest.peers.results import Result, Spread, Target, calmer, ratios, targets, winners

SECTION = "serving"
BEGIN, END = f"<!-- {SECTION}: begin, written by `make bench` -->", f"<!-- {SECTION}: end -->"
TITLE = "# Benchmarks\n"
BUSY = 0.5  # load average above which something else was at work


@dataclass(frozen=True, slots=True)
class Circumstances:
    """All that a reader needs to judge the figures or to measure again.

    Attributes
    ----------
    date
        ISO 8601, UTC.
    load_before
        The machine's load average over a minute before the first run.
    versions
        By server and package.
    """

    date: str
    processor: str
    cores: int
    system: str
    load_before: float
    wrk: str
    versions: Mapping[str, Mapping[str, str]]
    trees: int
    leaves: int
    features: int
    connections: int
    seconds: int
    warm_up_seconds: int
    runs: int
    service_notes: tuple[str, ...] = ()


def as_text(results: Sequence[Result]) -> str:
    """Return the table for a terminal."""
    rows = [_HEAD, *_rows(results)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEAD))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


_HEAD = ("server", "answers a second", "p99 ms", "bytes", "errors", "ratio")


def _rows(results: Sequence[Result]) -> list[tuple[str, ...]]:
    compared = ratios(results)
    return [_row(result, compared.get(result.peer.name)) for result in results]


def _row(result: Result, ratio: float | None) -> tuple[str, ...]:
    if not result.is_measured:
        return (result.peer.title, f"not measured: {result.failure}", "", "", "", "")
    return (
        result.peer.title,
        _spread(result.answers_per_second, digits=0),
        _spread(result.p99_ms, digits=1),
        f"{result.answer_bytes:,}",
        f"{result.errors:,}",
        "" if ratio is None else f"{ratio:.2f}",
    )


def _spread(value: Spread, *, digits: int) -> str:
    return f"{value.median:,.{digits}f} ({value.low:,.{digits}f} to {value.high:,.{digits}f})"


def as_json(results: Sequence[Result], circumstances: Circumstances) -> dict[str, Any]:
    """Return all that was measured, in plain JSON values."""
    compared = ratios(results)
    return {
        **asdict(circumstances),
        "repeat": "make bench",
        "servers": [_server(result, compared.get(result.peer.name)) for result in results],
        "targets": [{**asdict(target), "met": target.is_met} for target in targets(results)],
    }


def _server(result: Result, ratio: float | None) -> dict[str, Any]:
    about = {"name": result.peer.name, "title": result.peer.title, "explains": result.peer.explains}
    if not result.is_measured:
        return {**about, "failure": result.failure}
    return {
        **about,
        "answers_per_second": asdict(result.answers_per_second),
        "p50_ms": asdict(result.p50_ms),
        "p99_ms": asdict(result.p99_ms),
        "answer_bytes": result.answer_bytes,
        "errors": result.errors,
        "this_service_ratio": ratio,
        "runs": [asdict(run) for run in result.runs],
    }


def as_page(results: Sequence[Result], circumstances: Circumstances) -> str:
    """Return the section of the page for readers."""
    parts = (
        _introduction(circumstances),
        _table(results),
        "### What the figures say\n\n" + "\n".join(f"- {line}" for line in _findings(results, circumstances)),
        _DIFFERENCES,
        _REPEAT,
        "### Versions\n\n" + "\n".join(_versions(circumstances)),
    )
    return "\n\n".join(parts) + "\n"


def _introduction(circumstances: Circumstances) -> str:
    one = circumstances
    return (
        "## Serving: answers a second on one core\n\n"
        f"Measured on {one.date} on {one.processor}, {one.cores} cores, {one.system}. "
        f"One model for all: {one.trees} trees of up to {one.leaves} leaves, {one.features} features. "
        f"Each server in turn had one core to itself and wrk {one.wrk} the other, with {one.connections} keep-alive "
        f"connections, each asking again as soon as it was answered. {one.runs} runs of {one.seconds} s, each after "
        f"{one.warm_up_seconds} s of warming up, one server after the other and then all again. "
        "A cell says the median and, in brackets, the lowest and the highest run; bytes are those of an answer. "
        "The ratio says how many answers this service gives for one of that server."
    )


def _table(results: Sequence[Result]) -> str:
    lines = ["| " + " | ".join(_HEAD) + " |", "|---" * len(_HEAD) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in _rows(results)])


def _findings(results: Sequence[Result], circumstances: Circumstances) -> list[str]:
    found = [_target_line(target, results) for target in targets(results)]
    found += [_more_answers(results), _lower_p99(results)]
    found += [f"{result.peer.title} could not be measured: {result.failure}." for result in results if result.failure]
    found += [f"{result.peer.title}: {result.errors:,} requests failed." for result in results if result.errors]
    found += list(circumstances.service_notes)
    if circumstances.load_before > BUSY:
        found.append(
            f"The machine was not quiet: its load average was {circumstances.load_before:.1f} before the first run. "
            "Trust the ratios little and the absolute figures less."
        )
    return found


def _target_line(target: Target, results: Sequence[Result]) -> str:
    title = next((result.peer.title for result in results if result.peer.name == target.peer), target.peer)
    wanted = f"Required: {target.required:g} times the answers of {title}"
    if target.reached is None:
        return f"{wanted}: **not known**, it was not measured."
    return f"{wanted}: **{'met' if target.is_met else 'missed'}**, {target.reached:.2f} times."


def _more_answers(results: Sequence[Result]) -> str:
    compared = ratios(results)
    ahead = [_ahead(result, f"{1 / compared[result.peer.name]:.2f} times as many") for result in winners(results)]
    return f"More answers than this service: {'; '.join(ahead) or 'none'}."


def _lower_p99(results: Sequence[Result]) -> str:
    ahead = [_ahead(result, f"{result.p99_ms.median:.1f} ms") for result in calmer(results)]
    return f"A lower p99 than this service: {'; '.join(ahead) or 'none'}."


def _ahead(result: Result, figure: str) -> str:
    return f"{result.peer.title} ({figure}{', with SHAP values' if result.peer.explains else ''})"


def _versions(circumstances: Circumstances) -> list[str]:
    lines = ["| server | versions |", "|---|---|"]
    for name, packages in circumstances.versions.items():
        lines.append(f"| {name} | {', '.join(f'{package} {number}' for package, number in packages.items())} |")
    return lines


_DIFFERENCES = """### What is not the same

- **This service** gets the raw payment. It checks every field, hashes the ids, looks both up, computes the features and
  exact SHAP values, groups them into reasons with text, counts its metrics and writes one line of decision log.
- **FastAPI with a constant** gets the same payment, checks it with a plain pydantic model and sends a constant through
  its response model: the most that the framework can do. The small constant shows what the size of the answer costs.
- **FastAPI + pandas + shap** gets the same payment. It looks the sums up in a dictionary by the raw id and computes
  the same features in plain Python, so it is spared hashing, grouping, texts, metrics and log; its answer names the
  nine strongest features.
- **MLServer, MLflow and BentoML** get a ready row of the features in their own protocol, so they are spared features
  and look-ups as well. Their answer is a bare score; BentoML with `pred_contrib` adds a bare list of SHAP values.
  MLflow's model has no signature, so that no schema is checked, and gets the row as a tensor: the fastest of its ways.
- All: one process for the work, one thread for the numerics, no access log, the event loop and HTTP parser that each
  ships with, and the same 1000 payments in the same order. Before a server is measured, scores that it answers are
  compared with the model's own.
- This is a closed loop: a connection waits for its answer before it asks again, so p99 here is that of a server driven
  as hard as it can be, not what a gateway sees at a fixed rate."""

_REPEAT = """### How to repeat

```
apt-get install wrk
make bench INSTALL=1
```

The peers are installed into `var/peers` from hash-locked requirements the first time, and only with `INSTALL=1`. More:
`.venv/bin/python -m loadtest.bench --help`."""


def write_documents(folder: Path, results: Sequence[Result], circumstances: Circumstances) -> None:
    """Write `benchmarks.md` and `benchmarks.json`; the sections of other benchmarks in them stay as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    page, data = folder / "benchmarks.md", folder / "benchmarks.json"
    before = page.read_text(encoding="utf-8") if page.is_file() else ""
    page.write_text(with_section(before, as_page(results, circumstances)), encoding="utf-8")
    known = json.loads(data.read_text(encoding="utf-8")) if data.is_file() else {}
    known[SECTION] = as_json(results, circumstances)
    data.write_text(json.dumps(known, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def with_section(page: str, section: str) -> str:
    """Return the page with this section in the place of its last version, or at the end."""
    block = f"{BEGIN}\n\n{section}\n{END}\n"
    head, found, rest = (page or TITLE + "\n").partition(BEGIN)
    if not found:
        return f"{head.rstrip()}\n\n{block}"
    _, _, tail = rest.partition(END)
    return f"{head}{block}{tail.removeprefix(chr(10))}"
