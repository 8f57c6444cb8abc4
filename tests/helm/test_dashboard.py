"""The dashboard is one that Grafana can show: panels in their places, with units, questions and legends that exist."""

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from tests.helm.promql import expressions

DASHBOARD = json.loads((Path(__file__).parents[2] / "helm" / "files" / "dashboard.json").read_text(encoding="utf-8"))
ROWS = [panel for panel in DASHBOARD["panels"] if panel["type"] == "row"]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
COLUMNS = 24  # Grafana's grid
GROUPED = re.compile(r"\b(?:by|count by)\s*\(([^)]*)\)")
# Of a target; PromQL need not name them.
OF_THE_TARGET = {"pod"}


def test_is_one_dashboard_under_an_address_that_stays() -> None:
    assert DASHBOARD["uid"] == "antifraud"
    assert DASHBOARD["title"]
    assert DASHBOARD["schemaVersion"] >= 36
    assert "id" not in DASHBOARD, "the number of one Grafana means another dashboard in the next"


def test_asks_whichever_prometheus_the_reader_chooses() -> None:
    variables = {one["name"]: one for one in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    for panel in PANELS:
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]


def test_numbers_and_titles_are_unique() -> None:
    for key in ("id", "title"):
        values = [panel[key] for panel in DASHBOARD["panels"]]
        assert len(set(values)) == len(values), key


def test_panels_lie_within_the_grid_and_none_over_another() -> None:
    places = [(panel["title"], *(panel["gridPos"][key] for key in "xywh")) for panel in DASHBOARD["panels"]]
    for title, x, y, w, h in places:
        assert x >= 0, title
        assert y >= 0, title
        assert w > 0, title
        assert h > 0, title
        assert x + w <= COLUMNS, title
    for (one, x, y, w, h), (other, x2, y2, w2, h2) in combinations(places, 2):
        assert x + w <= x2 or x2 + w2 <= x or y + h <= y2 or y2 + h2 <= y, f"{one} lies over {other}"


def test_rows_stand_above_what_they_name() -> None:
    assert [row["title"] for row in ROWS] == ["Answers", "Decisions", "Freshness", "Topics"]
    assert min(panel["gridPos"]["y"] for panel in DASHBOARD["panels"]) == ROWS[0]["gridPos"]["y"]


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_panel_has_a_unit_and_questions_with_legends_of_labels_that_are_left(panel: dict[str, Any]) -> None:
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"]
    references = [target["refId"] for target in panel["targets"]]
    assert len(set(references)) == len(references)
    for target in panel["targets"]:
        assert expressions(target) == [target["expr"]]
        assert target["legendFormat"]
        grouped = {name.strip() for found in GROUPED.findall(target["expr"]) for name in found.split(",")}
        assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= grouped | OF_THE_TARGET


def test_braces_are_balanced_in_every_expression() -> None:
    for expression in expressions(DASHBOARD):
        for left, right in ("()", "{}", "[]"):
            assert expression.count(left) == expression.count(right), expression


def test_fits_into_a_config_map() -> None:
    assert len(json.dumps(DASHBOARD)) < 2**20
