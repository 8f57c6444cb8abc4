import io
from contextlib import redirect_stderr

from model.training.progress import Stages


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run_stages(*, shown: bool) -> dict[str, float]:
    with Stages(2, shown=shown) as stages:
        stages.begin("reading ids")
        stages.begin("training", parts=4, unit="trees")
        for _ in range(4):
            stages.part()
    return stages.seconds


def test_a_terminal_sees_the_stage_at_work_and_its_parts() -> None:
    with redirect_stderr(Terminal()) as terminal:
        run_stages(shown=True)
    said = terminal.getvalue()
    assert "reading ids" in said
    assert "training, 4 of 4 trees" in said


def test_a_log_file_sees_nothing() -> None:
    with redirect_stderr(io.StringIO()) as log:
        seconds = run_stages(shown=True)
    assert log.getvalue() == ""
    assert list(seconds) == ["reading ids", "training"]


def test_who_wants_no_bar_gets_none() -> None:
    with redirect_stderr(Terminal()) as terminal:
        run_stages(shown=False)
    assert terminal.getvalue() == ""
