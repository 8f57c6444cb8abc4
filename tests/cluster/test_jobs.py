import time

import pytest

from tests.cluster.figures import Report
from tests.cluster.kube import eventually
from tests.cluster.release import Release

pytestmark = pytest.mark.cluster

DAYS = 104  # of the bank's history; the installation made 90 of them
FOLLOW_S = 60.0  # polls, a download and a trial


def follow(release: Release, pair: tuple[str, str]) -> float:
    """Return how many seconds it took until every pod served a pair."""
    waited = eventually(lambda: release.versions() == {pair}, f"pods to serve {pair}", seconds=FOLLOW_S)
    return round(waited, 1)


def test_refresh_and_retrain_promote_and_running_pods_follow_and_go_back_without_a_restart(
    release: Release, report: Report
) -> None:
    pods, restarts = release.names(), release.restarts()
    seconds: dict[str, float] = {}
    followed: dict[str, float] = {}

    def run(name: str, of: str, arguments: list[str] | None = None) -> str:
        began = time.monotonic()
        log = release.run_job(name, of=of, arguments=arguments)
        seconds[name] = round(time.monotonic() - began, 1)
        return log

    run("more-days", "retrain", ["simulate", "--out", "/history", "--days", str(DAYS)])
    assert "PUBLISHED: fraud-statistics version 2 is current" in run("refresh-now", "refresh")
    followed["newer_statistics"] = follow(release, ("1", "2"))
    assert "PROMOTED: fraud-model version 2 is the champion now" in run("retrain-now", "retrain")
    followed["new_champion"] = follow(release, ("2", "3"))
    said = run("model-back", "retrain", ["rollback", "--why", "a test of the way back"])
    assert "'champion' is version 1 again, in place of version 2" in said
    followed["rollback"] = follow(release, ("1", "3"))
    report.note("jobs", job_s=seconds, pods_followed_after_s=followed)
    assert release.names() == pods
    assert {name: count for name, count in release.restarts().items() if name in restarts} == restarts
