"""Each alert has tests that `make chart` runs with promtool, and a line on what to do."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
RULES = yaml.safe_load((ROOT / "helm" / "files" / "rules.yaml").read_text(encoding="utf-8"))
ALERTS = [rule["alert"] for group in RULES["groups"] for rule in group["rules"]]


@pytest.fixture(scope="module")
def tested() -> dict[str, list[dict[str, Any]]]:
    """Return the cases of each alert."""
    cases: dict[str, list[dict[str, Any]]] = {}
    for path in sorted((ROOT / "helm" / "checks" / "alerts").glob("*_test.yaml")):
        for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]:
            for case in test["alert_rule_test"]:
                cases.setdefault(case["alertname"], []).append(case)
    return cases


@pytest.mark.parametrize("alert", ALERTS)
def test_is_shown_to_fire_and_to_stay_quiet(alert: str, tested: dict[str, list[dict[str, Any]]]) -> None:
    fires = [bool(case["exp_alerts"]) for case in tested[alert]]
    assert True in fires
    assert False in fires


def test_no_test_is_of_an_alert_that_is_gone(tested: dict[str, list[dict[str, Any]]]) -> None:
    assert set(tested) == set(ALERTS)


@pytest.mark.parametrize("rule", [rule for group in RULES["groups"] for rule in group["rules"]], ids=ALERTS)
def test_says_how_bad_it_is_what_happened_and_waits_before_it_does(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert set(rule["annotations"]) == {"summary", "description"}
    assert re.fullmatch(r"[1-9][0-9]*[mh]", rule["for"])


def test_the_operations_page_says_what_to_do_on_each_alert_and_on_no_other() -> None:
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `Fraud")]
    assert sorted(name for row in rows for name in re.findall(r"`(Fraud\w+)`", row.split("|")[1])) == sorted(ALERTS)
    assert all(row.split("|")[3].strip() for row in rows)
