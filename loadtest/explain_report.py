"""What was measured of each way to explain: medians, ratios, findings, as a page for readers and as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median, quantiles
from typing import Any

from loadtest.explain_engines import C_API, OURS, PYTHON, REFERENCE, SCORE, Exactness, Shape
from loadtest.sections import table

REQUIRED, AIM = 12.0, 20.0  # requirement: times faster than pred_contrib
REQUIRED_AT = ("200x31", "500x63")
TOLERANCE = 1e-6  # requirement: log-odds


@dataclass(frozen=True, slots=True)
class Timing:
    """Microseconds a row of one way: the median of all samples, and the quartiles around it."""

    median_us: float
    low_us: float
    high_us: float
    samples: int


def timing(nanoseconds: Sequence[int], *, rows: int) -> Timing:
    """Return the timing of calls that explained so many rows each."""
    each = [one / rows / 1e3 for one in nanoseconds]
    low, _, high = quantiles(each, n=4, method="inclusive") if len(each) > 1 else (each[0],) * 3
    return Timing(median(each), low, high, len(each))


@dataclass(frozen=True, slots=True)
class Measured:
    """One size of model.

    Attributes
    ----------
    timings
        By the name of the way, in the order of the table.
    differences
        Largest difference from `pred_contrib`, or of a peer's values from its own margin, in log-odds, by its name.
    """

    shape: Shape
    leaves: int
    exactness: Exactness
    timings: Mapping[str, Timing]
    differences: Mapping[str, float] = field(default_factory=dict)

    def ratio(self, name: str, *, to: str = PYTHON) -> float | None:
        """Return how many times faster a way is than another; None if one was not measured."""
        if name not in self.timings or to not in self.timings:
            return None
        return self.timings[to].median_us / self.timings[name].median_us


@dataclass(frozen=True, slots=True)
class Circumstances:
    """All that a reader needs to judge the figures."""

    date: str
    processor: str
    system: str
    load_before: float
    instruction_set: str
    versions: Mapping[str, Mapping[str, str]]
    missing: Mapping[str, str] = field(default_factory=dict)
    """Why a way was not measured, by its name."""


def as_json(results: Sequence[Measured], circumstances: Circumstances) -> dict[str, Any]:
    """Return all that was measured, in plain JSON values."""
    return {
        **asdict(circumstances),
        "repeat": "python -m loadtest.explain --install",
        "models": [
            {
                "trees": one.shape.trees,
                "leaves_of_a_tree": one.shape.leaves,
                "leaves": one.leaves,
                **asdict(one.exactness),
                "differences": dict(one.differences),
                "ways": {name: _way(one, name) for name in one.timings},
            }
            for one in results
        ],
        "findings": findings(results, circumstances),
    }


def _way(one: Measured, name: str) -> dict[str, Any]:
    ratios = {"times_pred_contrib": one.ratio(name), "times_c_api": one.ratio(name, to=C_API)}
    return {**asdict(one.timings[name]), **ratios}


def as_page(results: Sequence[Measured], circumstances: Circumstances) -> str:
    """Return the section of the page for readers."""
    one = circumstances
    head = (
        f"Measured on {one.date} on one core of {one.processor} ({one.system}, instruction set {one.instruction_set}): "
        "one row at a time, all in one run and in turn, so that a slow spell of the machine meets everyone. A cell has "
        "the median processor time of a row and, in brackets, how many times faster that is than `pred_contrib` from "
        "Python."
    )
    lines = "\n".join(f"- {line}" for line in findings(results, circumstances))
    versions = "; ".join(
        f"{name}: {', '.join(f'{package} {number}' for package, number in packages.items())}"
        for name, packages in one.versions.items()
    )
    return f"{head}\n\n{as_table(results, circumstances)}\n\n{lines}\n\nVersions: {versions}."


def as_table(results: Sequence[Measured], circumstances: Circumstances) -> str:
    """Return a row for each way, also for those that could not be measured."""
    names = list(dict.fromkeys(name for one in results for name in one.timings))
    rows = [[name, *(_cell(one, name) for one in results)] for name in names]
    gap = [""] * (len(results) - 1)
    rows += [[name, f"not measured: {reason}", *gap] for name, reason in circumstances.missing.items()]
    return table(["", *(f"{one.shape.trees} trees x {one.shape.leaves} leaves" for one in results)], rows)


def _cell(one: Measured, name: str) -> str:
    found, ratio = one.timings.get(name), one.ratio(name)
    if found is None or ratio is None:
        return "-"
    return f"{microseconds(found.median_us)} ({times(ratio)})"


def microseconds(value: float) -> str:
    """Return a time as a table has it, `26.5 us` or `7.41 ms`."""
    for unit, size in (("us", 1.0), ("ms", 1e3)):
        if value < 1000 * size:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e6:.3g} s"


def times(ratio: float) -> str:
    """Return a ratio as a table has it; what is many times slower as a fraction."""
    if ratio < 0.1:
        return f"1/{1 / ratio:.0f}"
    return f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.1f}"


def findings(results: Sequence[Measured], circumstances: Circumstances) -> list[str]:
    """Return what the figures say about the requirements, whichever way they fall."""
    found = [line for one in results for line in _required(one)]
    found += [_exact(results), _faster(results)]
    found += _own_models(results)
    if circumstances.load_before > 0.5:
        found.append(f"The machine was not quiet: load average {circumstances.load_before:.1f} before the run.")
    return found


def _required(one: Measured) -> list[str]:
    python, c_api = one.ratio(OURS), one.ratio(OURS, to=C_API)
    if one.shape.name not in REQUIRED_AT or python is None or c_api is None:
        return []
    met = "met" if python >= REQUIRED else "NOT MET"
    aim = "reached" if python >= AIM else "not reached"
    return [
        f"{one.shape.trees} x {one.shape.leaves}: {python:.1f} times faster than `pred_contrib` from Python, "
        f"{c_api:.1f} times faster than from C. Required {REQUIRED:g} times: **{met}**; the aim of {AIM:g}: {aim}."
    ]


def _exact(results: Sequence[Measured]) -> str:
    worst = max(one.exactness.from_pred_contrib for one in results)
    margin = max(one.exactness.from_margin for one in results)
    met = "met" if worst <= TOLERANCE else "NOT MET"
    return (
        f"Ours differ from `pred_contrib` by at most {worst:.0e} log-odds and add up to the margin within "
        f"{margin:.0e}. Required {TOLERANCE:.0e}: **{met}**."
    )


def _faster(results: Sequence[Measured]) -> str:
    """Say which of the others is faster than ours, if one is."""
    ahead = []
    for one in results:
        for name in _rivals(one):
            ratio = one.ratio(name, to=OURS)
            if ratio is not None and ratio > 1:
                ahead.append(f"{name} at {one.shape.trees} x {one.shape.leaves} ({ratio:.2f} times)")
    if not any(_rivals(one) for one in results):
        return "No other library was measured, so nothing is said of them."
    return f"Faster than ours: {'; '.join(ahead) or 'none of the libraries measured, at any of these sizes'}."


def _rivals(one: Measured) -> list[str]:
    """Return the ways that others have to explain; a bare score explains nothing."""
    return [name for name in one.timings if not name.startswith("ours") and name not in (PYTHON, C_API, SCORE)]


def _own_models(results: Sequence[Measured]) -> list[str]:
    """Say of whom the model is not the same."""
    found: dict[str, float] = {}
    for one in results:
        for name, difference in one.differences.items():
            if "own model" in name:
                library = name.partition(" ")[0]
                found[library] = max(found.get(library, 0.0), difference)
    return [
        f"{library} explains models of its own, of the same size and trained on the same rows; its values add up to "
        f"its margin within {difference:.0e} log-odds (32-bit floats)."
        for library, difference in found.items()
    ]


def baseline_first(names: Sequence[str]) -> list[str]:
    """Return names in the order of the table: LightGBM, ours, the others, the slow reference last."""
    return sorted(names, key=lambda name: (name == REFERENCE, not name.startswith(("LightGBM", "ours"))))
