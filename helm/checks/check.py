"""Check the chart without a cluster: `make chart`, or `python helm/checks/check.py`.

Renders the chart for several sets of values and holds each against what Helm, its unit tests, a real API server's
schemas, kube-score and promtool say of it, and `k8s/` and the table of values against what is rendered. Where a program
is missing, what it would have checked is left out and named; with `CI` in the environment that is a failure.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CHECKS = Path(__file__).parent
CHART = CHECKS.parent
ROOT = CHART.parent
WORK = ROOT / "var" / "chart"  # what is rendered, to be looked at
RELEASE = "antifraud"
KUBERNETES = "1.33"  # whose schemas are kept
VALUES: dict[str, Path | None] = {
    "default": None,
    **{path.stem.removeprefix("values-"): path for path in sorted(CHART.glob("values-*.yaml"))},
    **{path.stem: path for path in sorted((CHECKS / "values").glob("*.yaml"))},
}
CUSTOM_RESOURCES = ("monitoring.coreos.com/v1", "gateway.networking.k8s.io/v1", "keda.sh/v1alpha1")


@dataclass(frozen=True, slots=True)
class Check:
    """One check: what it is called, the programs it needs, and how it finds problems."""

    name: str
    programs: tuple[str, ...]
    problems: Callable[[], Iterator[str]]


@dataclass(frozen=True, slots=True)
class Finding:
    """What kube-score says of one object of one set of values."""

    values: str
    check: str
    object: str
    text: str


def main() -> int:
    """Run every check that can run; return 1 where one fails, or one is left out in CI."""
    given = [os.environ["TOOLS"]] if os.environ.get("TOOLS") else []
    os.environ["PATH"] = os.pathsep.join([*given, str(ROOT / ".tools" / "bin"), os.environ["PATH"]])
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    failed = left_out = False
    for check in CHECKED:
        missing = [program for program in check.programs if shutil.which(program) is None]
        if missing:
            print(f"chart: LEFT OUT {check.name}: {', '.join(missing)} not found; `make tools` installs it")
            left_out = True
            continue
        problems = list(check.problems())
        for problem in problems:
            print(f"chart: {check.name}: {problem}")
        failed |= bool(problems)
        if not problems:
            print(f"chart: {check.name}: in order")
    if left_out and os.environ.get("CI"):
        print("chart: nothing may be left out in CI")
        return 1
    return int(failed)


def run(*command: str | Path) -> tuple[int, str]:
    """Return the exit code of a command and what it said."""
    done = subprocess.run(  # noqa: S603  only programs named here
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        cwd=ROOT,
    )
    return done.returncode, done.stdout.strip()


def values_of(name: str) -> list[str | Path]:
    """Return the arguments that give Helm a set of values."""
    path = VALUES[name]
    return [] if path is None else ["--values", path]


def lint() -> Iterator[str]:
    """`helm lint`, every set of values."""
    for name in VALUES:
        code, said = run("helm", "lint", "--strict", "--quiet", CHART, *values_of(name))
        if code:
            yield f"{name}: {said}"


def render() -> Iterator[str]:
    """`helm template`, every set of values, into files for the checks that follow."""
    versions = [part for name in CUSTOM_RESOURCES for part in ("--api-versions", name)]
    for name in VALUES:
        code, said = run(
            "helm", "template", RELEASE, CHART, "--kube-version", f"{KUBERNETES}.0", *versions, *values_of(name)
        )
        if code:
            yield f"{name}: {said}"
        else:
            (WORK / f"{name}.yaml").write_text(said + "\n", encoding="utf-8")


def unit_tests() -> Iterator[str]:
    """helm-unittest over `helm/tests`."""
    code, said = run("helm-unittest", "--strict", CHART)
    if code:
        yield said


def schemas() -> Iterator[str]:
    """Kubeconform: no unknown field, no wrong type, no kind without a schema."""
    location = CHART / "schemas" / "{{.ResourceKind}}{{.KindSuffix}}.json"
    code, said = run("kubeconform", "-strict", "-schema-location", location, *sorted(WORK.glob("*.yaml")))
    if code:
        yield said


def scores() -> Iterator[str]:
    """kube-score with its optional checks; every finding needs a waiver, and every waiver a finding."""
    waivers = yaml.safe_load((CHECKS / "waivers.yaml").read_text(encoding="utf-8"))
    findings = [finding for name in VALUES for finding in score(name)]
    yield from unwaived(findings, waivers)


def score(name: str) -> Iterator[Finding]:
    """Yield what kube-score says of one set of values."""
    listed = run("kube-score", "list")[1].splitlines()
    optional = [line.split(",")[0] for line in listed if line.rsplit(",", 1)[-1] == "optional"]
    options = [part for check in optional for part in ("--enable-optional-test", check)]
    version = f"v{KUBERNETES}"
    path = WORK / f"{name}.yaml"
    _, said = run("kube-score", "score", "--output-format", "json", "--kubernetes-version", version, *options, path)
    for scored in json.loads(said):
        kind, object_name = scored["object_name"].split("/")[0], scored["object_name"].split("/")[-1]
        for check in scored["checks"]:
            if check["skipped"] or check["grade"] >= 10:
                continue
            for comment in check["comments"] or [{"summary": check["check"]["name"]}]:
                yield Finding(name, check["check"]["id"], f"{kind}/{object_name}", comment["summary"])


def unwaived(findings: list[Finding], waivers: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the findings without a waiver and the waivers without a finding."""
    met: set[int] = set()
    for finding in findings:
        fitting = {number for number, waiver in enumerate(waivers) if is_waived(finding, waiver)}
        met |= fitting
        if not fitting:
            yield f"{finding.values}: {finding.object}: {finding.check}: {finding.text}"
    for number, waiver in enumerate(waivers):
        if number not in met:
            yield f"the waiver of {waiver['check']} for {waiver['objects']} meets nothing any more: remove it"


def is_waived(finding: Finding, waiver: dict[str, Any]) -> bool:
    """Say whether a waiver with a reason is meant for this finding."""
    return (
        bool(waiver["reason"])
        and waiver["check"] == finding.check
        and waiver["finding"] in finding.text
        and re.fullmatch(waiver["objects"], finding.object) is not None
        and finding.values in waiver.get("sets", [finding.values])
    )


def alerts() -> Iterator[str]:
    """Promtool: the rules as the chart renders them, and a test of each."""
    rendered = yaml.safe_load_all((WORK / "production.yaml").read_text(encoding="utf-8"))
    specs = [found["spec"] for found in rendered if found and found["kind"] == "PrometheusRule"]
    if len(specs) != 1:
        yield f"{len(specs)} PrometheusRules are rendered with the values for production"
        return
    folder = WORK / "alerts"
    shutil.copytree(CHECKS / "alerts", folder)
    (folder / "rules.yaml").write_text(yaml.safe_dump(specs[0], sort_keys=False), encoding="utf-8")
    code, said = run("promtool", "check", "rules", "--lint-fatal", folder / "rules.yaml")
    if code:
        yield said
    code, said = run("promtool", "test", "rules", *sorted(folder.glob("*_test.yaml")))
    if code:
        yield said


def written() -> Iterator[str]:
    """`k8s/`, the table of values and the one of pods are what the chart says."""
    for script in ("k8s/render.py", "helm/values_page.py", "helm/capacity_page.py"):
        code, said = run(sys.executable, script, "--check")
        if code:
            yield said


CHECKED = (
    Check("helm lint", ("helm",), lint),
    Check("helm template", ("helm",), render),
    Check("helm-unittest", ("helm-unittest",), unit_tests),
    Check("schemas (kubeconform)", ("helm", "kubeconform"), schemas),
    Check("kube-score", ("helm", "kube-score"), scores),
    Check("alerts (promtool)", ("helm", "promtool"), alerts),
    Check("k8s/ and pages", ("helm",), written),
)

if __name__ == "__main__":
    sys.exit(main())
