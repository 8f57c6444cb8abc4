import json
from pathlib import Path

import pytest

from model.training.walk_forward.cells import Cells, plain, write_json


def test_finished_result_is_not_computed_again(tmp_path: Path) -> None:
    cells = Cells(tmp_path / "cells", {"data": "a"})
    computed: list[int] = []

    def compute() -> dict[str, float]:
        computed.append(1)
        return {"recall": 0.5, "unknown": float("nan")}

    first = cells.get("headline", {"age": 1}, compute)
    again = Cells(tmp_path / "cells", {"data": "a"}).get("headline", {"age": 1}, compute)
    assert first == again == {"recall": 0.5, "unknown": None}
    assert len(computed) == 1


@pytest.mark.parametrize(("common", "key"), [({"data": "b"}, {"age": 1}), ({"data": "a"}, {"age": 24})])
def test_other_rows_or_settings_are_computed_anew(tmp_path: Path, common: dict[str, str], key: dict[str, int]) -> None:
    Cells(tmp_path, {"data": "a"}).get("cell", {"age": 1}, lambda: "old")
    assert Cells(tmp_path, common).get("cell", key, lambda: "new") == "new"


def test_interrupted_computation_leaves_nothing_behind(tmp_path: Path) -> None:
    cells = Cells(tmp_path, {})

    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cells.get("cell", {}, interrupted)
    assert not list(tmp_path.iterdir())


def test_file_is_replaced_at_once_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "evaluation.json"
    write_json(path, {"recall": 1.0})
    with pytest.raises(TypeError):
        write_json(path, {"recall": object()})
    assert json.loads(path.read_text(encoding="utf-8")) == {"recall": 1.0}
    assert [file.name for file in tmp_path.iterdir()] == ["evaluation.json"]


def test_what_json_cannot_hold_becomes_null_at_any_depth() -> None:
    assert plain({"a": [float("inf"), (1, {"b": float("nan")})]}) == {"a": [None, [1, {"b": None}]]}
