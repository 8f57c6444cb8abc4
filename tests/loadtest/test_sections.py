import json
from pathlib import Path

import pytest

from loadtest.sections import table, with_section, write_figures, write_section


def test_a_section_is_added_at_the_end_and_later_replaced_where_it_stands() -> None:
    page = with_section("# Title\n", "kernel", "first", command="one")
    page = with_section(page, "sizes", "second", command="two") + "\nwritten by hand\n"
    again = with_section(page, "kernel", "third", command="one")
    assert "first" not in again
    assert again.index("third") < again.index("second") < again.index("written by hand")
    assert again.startswith("# Title\n\n<!-- kernel: begin, written by `one` -->\n\nthird\n\n<!-- kernel: end -->\n")
    assert with_section(again, "kernel", "third", command="one") == again


def test_a_section_without_its_end_is_not_overwritten() -> None:
    with pytest.raises(ValueError, match="end mark is gone"):
        with_section("<!-- kernel: begin -->\neverything else\n", "kernel", "new", command="one")


def test_figures_of_other_sections_stay(tmp_path: Path) -> None:
    for name, figures in (("kernel", {"a": 1}), ("sizes", {"b": 2}), ("kernel", {"a": 3})):
        write_figures(tmp_path / "docs" / "performance.json", name, figures)
        write_section(tmp_path / "docs" / "performance.md", name, str(figures), command="one")
    assert json.loads((tmp_path / "docs" / "performance.json").read_text()) == {"kernel": {"a": 3}, "sizes": {"b": 2}}
    page = (tmp_path / "docs" / "performance.md").read_text()
    assert "{'a': 3}" in page
    assert "{'a': 1}" not in page


def test_a_table_has_as_many_columns_in_every_line() -> None:
    lines = table(["a", "b"], [["1", "2"], ["3", "4"]]).splitlines()
    assert lines == ["| a | b |", "| --- | --- |", "| 1 | 2 |", "| 3 | 4 |"]
