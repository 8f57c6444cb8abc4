import importlib.util
import json
from pathlib import Path

import pytest

from loadtest import run
from loadtest.options import profile_from
from loadtest.pauses import METRIC
from loadtest.profiles import PROFILES, Limits
from loadtest.report import MISSED, PASSED, UNRELIABLE, WRONG_USAGE
from loadtest.service import ServiceError, find_service
from tests.loadtest.conftest import TinyServer, unused_port

needs_locust = pytest.mark.skipif(importlib.util.find_spec("locust") is None, reason="Locust is not installed")
SHORT = ("--normal", "20", "--peak", "60", "--stretch", "0.03", "--connections", "32")
# The machine that tests run on may be busy: neither answers nor the generator are late by less than this.
PATIENT = ("--p99-ms", "20000", "--answer-timeout", "20")


def arguments(profile: str, server: TinyServer, bank: Path, out: Path, *more: str) -> list[str]:
    return [profile, "--host", server.address, "--history", str(bank), "--out", str(out), *SHORT, *PATIENT, *more]


@needs_locust
def test_a_profile_that_holds_its_limits_passes_and_leaves_a_page_and_figures(
    server: TinyServer, bank: Path, tmp_path: Path
) -> None:
    assert run.main(arguments("step", server, bank, tmp_path)) == PASSED
    summary = json.loads((tmp_path / "step.json").read_text(encoding="utf-8"))
    assert summary["verdict"] == "passed"
    assert [stage["stage"] for stage in summary["stages"]] == ["warm-up", "before", "step", "after"]
    assert sum(stage["answered"] for stage in summary["stages"]) == len(server.bodies)
    assert all(stage["due"] == stage["answered"] for stage in summary["stages"])
    ids = {json.loads(body)["transaction_id"] for body in server.bodies}
    assert len(ids) == len(server.bodies)
    page = (tmp_path / "step.html").read_text(encoding="utf-8")
    assert page.index('<section id="verdict">') < page.index('<div id="root">')


@needs_locust
def test_every_request_is_accounted_for_and_a_missed_limit_is_the_exit_code(
    server: TinyServer, bank: Path, tmp_path: Path
) -> None:
    server.cycle("answer", "refuse", "invalid", "broken", "reset", "hang")
    assert run.main(arguments("normal", server, bank, tmp_path, "--answer-timeout", "3")) == MISSED
    summary = json.loads((tmp_path / "normal.json").read_text(encoding="utf-8"))
    stages = summary["stages"]
    names = ("answered", "refused", "client_errors", "server_errors", "transport_errors", "unsent")
    sums = {name: sum(stage[name] for stage in stages) for name in names}
    assert sum(sums.values()) == sum(stage["due"] for stage in stages)
    assert sum(sums.values()) - sums["unsent"] == len(server.bodies)
    assert sums["answered"] == server.given["answer"]
    assert sums["refused"] == server.given["refuse"]
    assert sums["client_errors"] == server.given["invalid"]
    assert sums["server_errors"] == server.given["broken"]
    assert sums["transport_errors"] == server.given["reset"] + server.given["hang"]
    assert any("refused" in breach for breach in summary["breaches"])


@needs_locust
def test_refusals_are_no_failures_where_they_are_allowed(server: TinyServer, bank: Path, tmp_path: Path) -> None:
    server.cycle("answer", "refuse")
    assert run.main(arguments("normal", server, bank, tmp_path, "--refused", "0.6")) == PASSED


@needs_locust
@pytest.mark.parametrize(("slow", "code"), [(4, PASSED), (5, MISSED)])
def test_a_long_pause_of_the_garbage_collector_is_a_missed_limit(
    server: TinyServer, bank: Path, tmp_path: Path, slow: int, code: int
) -> None:
    pages = '{0}_bucket{{le="0.005"}} {1}\n{0}_bucket{{le="+Inf"}} {2}\n'
    server.metrics = [pages.format(METRIC, 6, 10), pages.format(METRIC, 16, 16 + slow)]
    assert run.main(arguments("normal", server, bank, tmp_path)) == code
    summary = json.loads((tmp_path / "normal.json").read_text(encoding="utf-8"))
    assert summary["gc"] == {"pauses": 6 + slow, "limit_ms": 5, "over_limit": slow - 4}
    assert len(summary["breaches"]) == slow - 4


def test_more_than_locust_can_make_is_refused_before_anything_starts(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["spike", "--capacity", "1000"]) == UNRELIABLE
    assert "10000 a second is more than Locust makes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("cores", "capacity"), [(1.0, 4200.0), (0.25, 150.0), (0.5, None)], ids=["whole", "quarter", "not measured"]
)
def test_the_measured_capacity_of_so_many_cores_is_used(tmp_path: Path, cores: float, capacity: float | None) -> None:
    file = tmp_path / "capacity.json"
    assert run.measured_capacity(file, cores) is None
    results = [{"cores": 0.25, "highest_rate": 150.0}, {"cores": 1.0, "highest_rate": 4200.0}]
    file.write_text(json.dumps({"results": results}))
    assert run.measured_capacity(file, cores) == capacity
    file.write_text("[]")
    assert run.measured_capacity(file, cores) is None


@pytest.mark.parametrize(
    ("capacity", "given", "rate", "limits"),
    [
        (None, [], 500, Limits(p99_ms=100, refused=1, answered_rate=360)),
        (150.0, [], 1500, Limits(p99_ms=100, refused=1, answered_rate=135)),
        (4200.0, [], 500, Limits(p99_ms=5)),
        (4200.0, ["--p99-ms", "9"], 500, Limits(p99_ms=9)),
        (4200.0, ["--spike-p99-ms", "20", "--spike-refused", "0.1"], 500, Limits(p99_ms=20, refused=0.1)),
        (4200.0, ["--normal", "300"], 3000, Limits(p99_ms=100, refused=1, answered_rate=360)),
    ],
    ids=["unknown", "slow", "fast", "fast, patient", "fast, own limits", "near its capacity"],
)
def test_a_spike_is_as_hard_as_the_capacity_asks_for(
    capacity: float | None, given: list[str], rate: float, limits: Limits
) -> None:
    options = run._parser().parse_args(["spike", *given])
    assert run.fit_spike(options, capacity).startswith("spike: ")
    spike = profile_from("spike", options).stages[2]
    assert (spike.rate, spike.limits) == (rate, limits)


def test_a_host_where_nothing_answers_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["normal", "--host", f"http://127.0.0.1:{unused_port()}"]) == WRONG_USAGE
    assert "does not answer" in capsys.readouterr().err


@pytest.mark.parametrize("address", ["127.0.0.1:8000", "https://127.0.0.1", "http://", "http://127.0.0.1/predict"])
def test_an_address_of_another_form_is_refused(address: str) -> None:
    with pytest.raises(ServiceError, match="no address like"):
        find_service(address)


def test_what_the_service_says_of_its_statistics_is_used(server: TinyServer) -> None:
    service = find_service(server.address)
    assert service.is_ready()
    moment = service.statistics_as_of()
    assert moment is not None
    assert moment.isoformat() == "2026-02-01T00:00:00+00:00"
    assert find_service(f"http://127.0.0.1:{unused_port()}").statistics_as_of() is None


def test_help_names_every_profile(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        run.main(["--help"])
    page = capsys.readouterr().out
    assert all(f"  {name} " in page for name in PROFILES)
