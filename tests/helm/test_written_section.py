from pathlib import Path

import pytest

from tests.helm.chart import load

written_section = load("written_section")
OLD = "before\n<!-- pods: begin, written by `make k8s` -->\nold\n<!-- pods: end -->\nafter\n"


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "page.md"
    path.write_text(OLD, encoding="utf-8")
    return path


def run(page: Path, text: str, *arguments: str) -> int:
    code: int = written_section.Section(page, "pods", lambda: text, "the page is old").main(list(arguments), None)
    return code


def test_only_what_stands_between_the_marks_is_written(page: Path) -> None:
    assert run(page, "new\n") == 0
    assert page.read_text(encoding="utf-8") == OLD.replace("old", "new")


def test_a_check_says_what_is_stale_and_writes_nothing(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(page, "old\n", "--check") == 0
    assert run(page, "new\n", "--check") == 1
    assert capsys.readouterr().err == "the page is old: run `make k8s`\n"
    assert page.read_text(encoding="utf-8") == OLD


@pytest.mark.parametrize("error", [written_section.SectionError("no chart"), FileNotFoundError("no helm")])
def test_what_cannot_be_found_out_is_one_line_and_leaves_the_page(
    page: Path, error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> str:
        raise error

    assert written_section.Section(page, "pods", fail, "the page is old").main([], None) == 1
    assert capsys.readouterr().err == f"pods: {error}\n"
    assert page.read_text(encoding="utf-8") == OLD
