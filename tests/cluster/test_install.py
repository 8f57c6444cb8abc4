import dataclasses
from pathlib import Path

import pytest

from tests.cluster.figures import Report
from tests.cluster.kube import Cluster
from tests.cluster.release import CHART, Release

pytestmark = pytest.mark.cluster

PLAIN = Path(__file__).parents[2] / "k8s"


@pytest.mark.usefixtures("cluster")
def test_the_plain_manifests_are_taken_by_the_server_without_a_warning(cluster: Cluster) -> None:
    plain = dataclasses.replace(cluster, namespace=f"{cluster.namespace}-plain")
    plain.make_namespace()
    try:
        done = plain.kubectl("apply", "--server-side", "-k", str(PLAIN))
        assert done.warnings == []
        assert done.out.count("serverside-applied") >= 12
    finally:
        plain.delete_namespace(wait=False)


def test_the_demonstration_and_all_that_can_be_switched_on_is_taken_without_a_warning(release: Release) -> None:
    cluster = release.cluster
    for given in (["-f", str(CHART / "values-demo.yaml")], ["--set", "autoscaling.enabled=false"]):
        rendered = cluster.run("helm", "template", "other", str(CHART), "--kube-version", "1.33.0", *given).out
        done = cluster.kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", given=rendered)
        assert done.warnings == []


def test_helm_install_alone_makes_a_system_that_passes_its_own_test(installed: Release, report: Report) -> None:
    """The fixture has installed it and run `helm test`."""
    restarts = installed.restarts()
    report.note("install", restarts=sum(restarts.values()))
    assert set(restarts.values()) == {0}
    assert len(installed.versions()) == 1
    assert installed.is_tested_well()
