"""The unit tests that helm-unittest runs leave no template out."""

from pathlib import Path
from typing import Any

import pytest
import yaml

CHART = Path(__file__).parents[2] / "helm"
TEMPLATES = sorted(
    str(path.relative_to(CHART / "templates"))
    for path in (CHART / "templates").rglob("*")
    if path.suffix in {".yaml", ".txt"}
)
SUITES: dict[str, dict[str, Any]] = {
    path.name: yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in sorted((CHART / "tests").glob("*_test.yaml"))
}


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_template_has_a_suite(template: str) -> None:
    assert [name for name, suite in SUITES.items() if template in suite["templates"]]


@pytest.mark.parametrize("name", SUITES)
def test_suites_assert_something_in_every_test_and_name_no_test_twice(name: str) -> None:
    tests = SUITES[name]["tests"]
    assert len({test["it"] for test in tests}) == len(tests)
    assert all(test["asserts"] for test in tests)


@pytest.mark.parametrize("switch", ["enabled: false", "enabled: true"])
def test_switches_are_tested_in_both_positions(switch: str) -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in (CHART / "tests").glob("*_test.yaml"))
    missing = [
        name
        for name, value in yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8")).items()
        if isinstance(value, dict)
        and isinstance(value.get("enabled"), bool)
        and f"{name}.{switch}" not in text
        # What is on by default is tested on without being said, and the other way round.
        and value["enabled"] != (switch == "enabled: true")
    ]
    assert not missing
