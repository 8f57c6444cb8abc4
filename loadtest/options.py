"""Options that the runner and the Locust file share, and what they make."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from loadtest.payments import UNKNOWN_SHARE
from loadtest.profiles import NORMAL_RATE, PEAK_RATE, PROFILES, Limits, Profile, make_profile

SHAPES = "profiles:\n" + "\n".join(f"  {name:<8}{text}" for name, text in PROFILES.items())
CONNECTIONS = 64
TIMEOUT = 5.0


def add_load_options(parser: argparse.ArgumentParser) -> None:
    """Add what describes payments, rates and limits; `--profile` itself is an option of Locust."""
    load = parser.add_argument_group("load")
    load.add_argument("--history", type=Path, help="payments to ask with: CSV or Parquet, file or folder")
    load.add_argument(
        "--run-name", help="name of the run, 1 to 16 of a-z 0-9: begins each transaction id; default: the time"
    )
    load.add_argument("--unknown-share", type=float, default=UNKNOWN_SHARE, help="share of customers without history")
    load.add_argument("--normal", type=float, default=NORMAL_RATE, help="payments a second on an ordinary day")
    load.add_argument("--peak", type=float, default=PEAK_RATE, help="payments a second at the peak")
    load.add_argument(
        "--capacity", type=float, help="payments a second the service can answer; a spike is ten times it"
    )
    load.add_argument("--stretch", type=float, default=1.0, help="make all stages so many times as long")
    load.add_argument("--connections", type=int, default=CONNECTIONS, help="payments under way at once")
    load.add_argument("--answer-timeout", type=float, default=TIMEOUT, help="seconds to wait for an answer")
    load.add_argument("--summary", type=Path, help="write the figures to this JSON file")
    limits = parser.add_argument_group("limits, which set the exit code: 0 held, 1 missed, 3 the generator was late")
    for prefix, text in (("", "rates that must be carried"), ("spike-", "the spike")):
        limits.add_argument(f"--{prefix}p99-ms", type=float, help=f"99th percentile of answers, {text}")
        limits.add_argument(f"--{prefix}refused", type=float, help=f"share of 503 with Retry-After, {text}")
        limits.add_argument(f"--{prefix}errors", type=float, help=f"share of all other ends, {text}")
        limits.add_argument(f"--{prefix}answered-rate", type=float, help=f"least answers a second, {text}")


def profile_from(name: str, options: argparse.Namespace) -> Profile:
    """Return the named profile with rates, limits and lengths as the options have them."""
    profile = make_profile(name, normal=options.normal, peak=options.peak, capacity=options.capacity)
    stages = (
        replace(stage, limits=_limits(stage.limits, options, "spike_" if stage.name == "spike" else ""))
        for stage in profile.stages
    )
    return replace(profile, stages=tuple(stages)).stretched(options.stretch)


def _limits(default: Limits | None, options: argparse.Namespace, prefix: str) -> Limits | None:
    if default is None:
        return None
    names = ("p99_ms", "refused", "errors", "answered_rate")
    given: dict[str, Any] = {name: getattr(options, prefix + name) for name in names}
    return replace(default, **{name: value for name, value in given.items() if value is not None})
