import json
from pathlib import Path
from typing import Any

import pytest

from loadtest import capacity
from loadtest.capacity_search import UnreliableError
from loadtest.report import UNRELIABLE, WRONG_USAGE, write_json
from loadtest.service import ServiceError


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new" / "capacity.json"
    write_json(path, {"rate": 1.5})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"rate": float("nan")})
    assert json.loads(path.read_text(encoding="utf-8")) == {"rate": 1.5}
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(("error", "code"), [(UnreliableError("x"), UNRELIABLE), (ServiceError("x"), WRONG_USAGE)])
def test_what_could_not_be_measured_is_not_written(
    error: Exception, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: Any) -> dict[str, Any]:
        raise error

    monkeypatch.setattr(capacity, "measure_all", fail)
    path = tmp_path / "capacity.json"
    assert capacity.main(["--out", str(path)]) == code
    assert not path.exists()
    assert "capacity: x" in capsys.readouterr().err
