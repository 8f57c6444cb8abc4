"""Write how many pods and cores the chart takes for some loads: `python helm/capacity_page.py`, or `--check`."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from written_section import Section, SectionError

CHART = Path(__file__).parent
PAGE = CHART.parent / "docs" / "operations.md"
PEAKS = (50, 400, 4000)  # payments a second


@dataclass(frozen=True, slots=True)
class Sizing:
    """What the chart says for one peak.

    Attributes
    ----------
    at_rest, planned, at_most
        Pods.
    cores
        Requested by a pod.
    """

    peak: int
    at_rest: int
    planned: int
    at_most: int
    cores: float

    def core_hours(self, rate: float, pods: int) -> float:
        """Return the core-hours that a million decisions take at a rate a second."""
        return 1e6 / rate / 3600 * pods * self.cores


def main(arguments: list[str] | None = None) -> int:
    """Write or compare the page; return 1 where it differs."""
    stale = "docs/operations.md does not have the pods that the chart takes"
    return Section(PAGE, "capacity", table, stale).main(arguments, __doc__)


def table() -> str:
    """Return a Markdown table with a row for each peak."""
    rows = [
        "| peak, payments a second | pods at rest, at the peak, at most | cores requested | core-hours for a million |",
        "|---|---|---|---|",
    ]
    for peak in PEAKS:
        one = sizing(peak)
        pods = (one.at_rest, one.planned, one.at_most)
        cores = ", ".join(f"{number * one.cores:g}" for number in pods)
        rows.append(f"| {peak:,} | {', '.join(map(str, pods))} | {cores} | {one.core_hours(peak, one.planned):.2f} |")
    usual = sizing(400)
    quiet = usual.core_hours(50, usual.at_rest)
    rows += [
        "",
        f"At 50 a second the pods at rest of a peak of 400 take {quiet:.2f} core-hours for a million decisions.",
    ]
    return "\n".join(rows) + "\n"


def sizing(peak: int) -> Sizing:
    """Return what the chart renders for a peak, with all other values as they are by default.

    Raises
    ------
    SectionError
        If Helm fails.
    """
    changed = f"capacity.peakTps={peak}"
    command = ["helm", "template", "antifraud", str(CHART), "--kube-version", "1.33.0", "--set", changed]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  fixed command
    if done.returncode:
        raise SectionError(done.stderr.strip())
    found = {one["kind"]: one["spec"] for one in yaml.safe_load_all(done.stdout) if one and "spec" in one}
    scaler: dict[str, Any] = found["HorizontalPodAutoscaler"]
    factor = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))["capacity"]["maxFactor"]
    request = str(found["Deployment"]["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"])
    return Sizing(
        peak,
        at_rest=scaler["minReplicas"],
        planned=int(scaler["maxReplicas"] / factor),
        at_most=scaler["maxReplicas"],
        cores=int(request[:-1]) / 1000 if request.endswith("m") else float(request),
    )


if __name__ == "__main__":
    sys.exit(main())
