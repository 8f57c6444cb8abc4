"""What the tests on a cluster share. They run only where a cluster is given: `make test-cluster KUBECONFIG=...`."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.figures import Report
from tests.cluster.kube import Cluster
from tests.cluster.release import Images, Release

# Not KUBECONFIG itself: `make test` must never touch the cluster that a shell happens to be pointed at.
KUBECONFIG = os.environ.get("CLUSTER_KUBECONFIG", "")
KEEP = bool(os.environ.get("CLUSTER_KEEP"))
REPORT = Path("var/cluster/report.json")
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave these tests out where no cluster is given, and say so."""
    for item in items:
        if HERE in item.path.parents and not KUBECONFIG:
            item.add_marker(pytest.mark.skip(reason="no cluster: make test-cluster KUBECONFIG=... IMAGE_LOAD='...'"))


_report = Report(REPORT, keep=KEEP)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was observed."""
    if _report.figures:
        terminalreporter.section(f"observed, also in {REPORT}")
        for name, figures in _report.figures.items():
            terminalreporter.line(f"{name}: {json.dumps(figures)}")


@pytest.fixture(scope="session")
def report() -> Report:
    """Where figures go."""
    return _report


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The cluster, with a namespace made for these tests; with CLUSTER_KEEP=1 it is kept and used again."""
    cluster = Cluster(KUBECONFIG, os.environ.get("CLUSTER_NAMESPACE", "antifraud-test"))
    if not (KEEP and cluster.has_namespace()):
        cluster.make_namespace()
    yield cluster
    if not KEEP:
        cluster.delete_namespace(wait=False)


@pytest.fixture(scope="session")
def images() -> Images:
    """The images that `make test-cluster` built and loaded."""
    tag = os.environ.get("CLUSTER_TAG", "0.1.0")
    return Images(os.environ.get("CLUSTER_PREFIX", "localhost/antifraud"), tag, f"{tag}-next")


@pytest.fixture(scope="session")
def installed(cluster: Cluster, images: Images, report: Report) -> Release:
    """The release, installed on the empty namespace until `helm test` passes."""
    release = Release(cluster, images, ingress=os.environ.get("CLUSTER_ADDRESS", ""))
    if release.is_installed():
        release.upgrade()
    else:
        release.install()
        report.note("install", **release.figures)
    release.open_side_door()
    return release


@pytest.fixture
def release(installed: Release) -> Iterator[Release]:
    """The release at rest, before and after a test."""
    installed.settle()
    yield installed
    installed.upgrade()
    installed.settle()
