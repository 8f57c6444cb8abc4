import json
import re
import time
from datetime import UTC, datetime

import pytest

from tests.cluster.figures import Report
from tests.cluster.kube import eventually
from tests.cluster.release import Release

pytestmark = pytest.mark.cluster

START = datetime(2026, 1, 1, tzinfo=UTC)  # of the simulated bank's history
MORE_DAYS = 14
FOLLOW_S = 60.0  # polls, a download and a trial


def follow(release: Release, pair: tuple[str, ...]) -> float:
    """Return how many seconds it took until every pod served a pair."""
    waited = eventually(lambda: release.versions() == {pair}, f"pods to serve {pair}", seconds=FOLLOW_S)
    return round(waited, 1)


def days_so_far(release: Release) -> int:
    """Return how many days of history the statistics in use have seen."""
    version = json.loads(release.ask(min(release.names()), "/version"))
    return (datetime.fromisoformat(version["statistics_as_of"]) - START).days


def found(pattern: str, log: str) -> tuple[str, ...]:
    """Return what a log says where it matches."""
    match = re.search(pattern, log)
    assert match, log
    return match.groups()


def test_refresh_and_retrain_promote_and_running_pods_follow_and_go_back_without_a_restart(
    release: Release, report: Report
) -> None:
    pods = release.names()
    restarts = {name: release.restarts()[name] for name in pods}
    ((first, _),) = release.versions()
    seconds: dict[str, float] = {}
    followed: dict[str, float] = {}

    def run(name: str, of: str, arguments: list[str] | None = None) -> str:
        began = time.monotonic()
        log = release.run_job(name, of=of, arguments=arguments)
        seconds[name] = round(time.monotonic() - began, 1)
        return log

    run("more-days", "retrain", ["simulate", "--out", "/history", "--days", str(days_so_far(release) + MORE_DAYS)])
    newer = found(r"PUBLISHED: fraud-statistics version (\d+) is current", run("refresh-now", "refresh"))
    followed["newer_statistics"] = follow(release, (first, *newer))
    model, statistics = found(
        r"PROMOTED: fraud-model version (\d+) is the champion now; fraud-statistics version (\d+)",
        run("retrain-now", "retrain"),
    )
    followed["new_champion"] = follow(release, (model, statistics))
    said = run("model-back", "retrain", ["rollback", "--why", "a test of the way back"])
    assert f"'champion' is version {first} again, in place of version {model}" in said
    followed["rollback"] = follow(release, (first, statistics))
    report.note("jobs", job_s=seconds, pods_followed_after_s=followed)
    assert release.names() == pods
    assert {name: release.restarts()[name] for name in pods} == restarts
