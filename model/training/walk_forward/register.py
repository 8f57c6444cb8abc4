"""A finished evaluation goes into the registry, beside the runs of training."""

import math
from pathlib import Path
from typing import Any

from model.registry import open_publisher
from model.training.publish import EXPERIMENT

REPORT_FILES = ("evaluation.json", "evaluation.txt", "evaluation.html")


def register(document: dict[str, Any], report: Path, *, tracking_uri: str) -> str:
    """Keep an evaluation's figures and files as a run of their own, and return its id.

    Parameters
    ----------
    document
        What `evaluation.json` holds.
    report
        Folder with the files.

    Raises
    ------
    RegistryError
        If the registry cannot be reached or refuses; the files stay where they are.
    """
    figures = {
        name: float(value)
        for name, value in document.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }
    facts = document["facts"]
    settings = {**document["settings"], **{f"data_{name}": value for name, value in facts["data"].items()}}
    with open_publisher(tracking_uri).run(EXPERIMENT, "evaluate", {"kind": "walk-forward"}) as run:
        run.log_metrics(figures)
        run.log_params(settings)
        for name in REPORT_FILES:
            run.log_file(report / name, "evaluation")
        return run.run_id
