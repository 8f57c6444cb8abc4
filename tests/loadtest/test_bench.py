"""The parts of the benchmark that need no server: wrk's output, medians, ratios, and what is written of them."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from loadtest import bench
from loadtest.peers import catalogue, environments, processes, report, results, wrk
from loadtest.peers.catalogue import PEERS, SERVICE, Peer
from loadtest.peers.report import Circumstances
from loadtest.peers.results import Result, Spread
from loadtest.peers.wrk import LoadError, LoadRun

QUIET = """Running 3s test @ http://127.0.0.1:8000/predict
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.96ms    1.02ms  20.55ms   94.69%
    Req/Sec     8.45k   500.26     9.21k    70.00%
  Latency Distribution
     50%  812.00us
     75%    2.05ms
     90%    2.50ms
     99%    6.09ms
  25245 requests in 3.01s, 4.20MB read
Requests/sec:   8387.04
Transfer/sec:      1.40MB
"""
TROUBLED = """Running 1m test @ http://127.0.0.1:8000/predict
  Latency Distribution
     50%  512.00ms
     75%    1.10s
     90%    1.25s
     99%    1.50s
  1000 requests in 1.00m, 4.20MB read
  Socket errors: connect 1, read 2, write 0, timeout 4
  Non-2xx or 3xx responses: 100
Requests/sec:     16.67
"""
PEER = {peer.name: peer for peer in PEERS}


def load_run(answers: int, *, p99_ms: float = 5.0, refused: int = 0) -> LoadRun:
    return LoadRun(seconds=10.0, answers=answers, refused=refused, broken=0, p50_ms=2.0, p99_ms=p99_ms)


def result(name: str, *answers: int, p99_ms: float = 5.0) -> Result:
    return Result(PEER[name], tuple(load_run(one, p99_ms=p99_ms) for one in answers), answer_bytes=2000)


def circumstances() -> Circumstances:
    return Circumstances(
        date="2026-11-23",
        processor="A processor",
        cores=2,
        system="Linux 6.1, Python 3.11.7",
        load_before=0.1,
        wrk="4.1.0",
        versions={SERVICE: {"python": "3.11.7", "lightgbm": "4.7.0"}},
        trees=200,
        leaves=31,
        features=53,
        connections=16,
        seconds=15,
        warm_up_seconds=5,
        runs=3,
    )


# --- wrk --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [("812.00us", 0.812), ("6.09ms", 6.09), ("1.50s", 1500.0), ("2.00m", 120_000.0), ("1.00h", 3_600_000.0)],
)
def test_times_of_wrk_are_read_in_every_unit(text: str, expected: float) -> None:
    assert wrk.milliseconds(text) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "ms", "12", "1.0 parsec", "-1.0ms"])
def test_a_time_that_cannot_be_read_is_said_so(text: str) -> None:
    with pytest.raises(LoadError, match="cannot be read"):
        wrk.milliseconds(text)


def test_a_quiet_run_is_read_whole() -> None:
    run = wrk.parse_run(QUIET)
    assert run == LoadRun(seconds=3.01, answers=25245, refused=0, broken=0, p50_ms=0.812, p99_ms=6.09)
    assert run.answers_per_second == pytest.approx(25245 / 3.01)


def test_refused_and_broken_requests_do_not_count_as_answers() -> None:
    run = wrk.parse_run(TROUBLED)
    assert (run.answers, run.refused, run.broken) == (900, 100, 7)
    assert run.answers_per_second == pytest.approx(15.0)
    assert (run.p50_ms, run.p99_ms) == (512.0, 1500.0)


@pytest.mark.parametrize("gone", ["requests in", "     99%"])
def test_output_without_its_figures_is_an_error(gone: str) -> None:
    with pytest.raises(LoadError, match="did not print"):
        wrk.parse_run("\n".join(line for line in QUIET.splitlines() if gone not in line))


def test_a_missing_wrk_is_one_line_that_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    assert bench.main([]) == 1
    assert (
        capsys.readouterr().err == "bench: wrk is needed to make the load; on Debian and Ubuntu: apt-get install wrk\n"
    )


# --- medians and ratios -----------------------------------------------------------------------------------------------


def test_spread_is_median_lowest_and_highest() -> None:
    assert results.spread([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)
    assert results.spread([3.0, 1.0]) == Spread(2.0, 1.0, 3.0)


def test_ratio_is_this_service_over_the_peer() -> None:
    measured = [result(SERVICE, 600, 500, 700), result("mlserver", 300, 200, 310), result("constant", 1000)]
    assert results.ratios(measured) == {"mlserver": 2.0, "constant": 0.6}


def test_a_peer_that_failed_has_no_ratio() -> None:
    failed = replace(result("mlserver", 300), failure="ended by itself")
    assert results.ratios([result(SERVICE, 600), failed]) == {}


def test_without_this_service_there_is_nothing_to_compare() -> None:
    assert results.ratios([result("mlserver", 300)]) == {}
    assert results.calmer([result("mlserver", 300)]) == []
    assert results.winners([result("mlserver", 300)]) == []


def test_targets_say_what_was_reached() -> None:
    measured = [result(SERVICE, 600), result("constant", 1000), result("fastapi-shap", 100)]
    constant, mlserver, usual = results.targets(measured)
    assert (constant.reached, constant.is_met) == (0.6, True)
    assert (mlserver.reached, mlserver.is_met) == (None, False)
    assert (usual.reached, usual.is_met) == (6.0, False)


def test_winners_are_named_fastest_first() -> None:
    measured = [result(SERVICE, 600), result("mlserver", 700), result("constant", 1000), result("mlflow", 100)]
    assert [one.peer.name for one in results.winners(measured)] == ["constant", "mlserver"]


# --- what is written --------------------------------------------------------------------------------------------------


def test_the_table_names_every_server_and_why_one_is_missing() -> None:
    table = report.as_text([result(SERVICE, 6000), replace(result("mlserver"), failure="not installed")])
    assert "600 (600 to 600)" in table
    assert "not measured: not installed" in table
    assert all(line == line.rstrip() for line in table.splitlines())


def test_the_page_says_when_a_peer_wins_and_when_a_target_is_missed() -> None:
    page = report.as_page([result(SERVICE, 6000), result("mlserver", 9000, p99_ms=1.0)], circumstances())
    assert "Required: 1.8 times the answers of MLServer, no explanation: **missed**, 0.67 times." in page
    assert "More answers than this service: MLServer, no explanation (1.50 times as many)." in page
    assert "A lower p99 than this service: MLServer, no explanation (1.0 ms)." in page


def test_the_page_says_what_it_was_measured_on_and_how_to_repeat_it() -> None:
    page = report.as_page([result(SERVICE, 6000)], circumstances())
    for expected in ("2026-11-23", "A processor", "200 trees", "53 features", "lightgbm 4.7.0", "make bench"):
        assert expected in page
    assert "not quiet" not in page


def test_failures_and_a_busy_machine_are_not_hidden() -> None:
    refused = Result(PEER["mlflow"], (load_run(100, refused=3),), answer_bytes=9)
    page = report.as_page(
        [result(SERVICE, 6000), refused, replace(result("bentoml"), failure="not installed")],
        replace(circumstances(), load_before=2.0, service_notes=("A note.",)),
    )
    for expected in ("3 requests failed", "could not be measured: not installed.", "not quiet", "- A note."):
        assert expected in page


def test_no_line_of_the_fixed_text_is_longer_than_a_page() -> None:
    page = report.as_page([], circumstances())
    fixed = page[page.index("### What is not the same") : page.index("### Versions")]
    assert max(map(len, fixed.splitlines())) <= 120


def test_documents_keep_the_sections_of_other_benchmarks(tmp_path: Path) -> None:
    (tmp_path / "benchmarks.json").write_text('{"explaining": {"kept": true}}', encoding="utf-8")
    (tmp_path / "benchmarks.md").write_text("# Benchmarks\n\n## Explaining\n\nKept.\n", encoding="utf-8")
    report.write_documents(tmp_path, [result(SERVICE, 6000)], circumstances())
    report.write_documents(tmp_path, [result(SERVICE, 7000)], circumstances())
    written = json.loads((tmp_path / "benchmarks.json").read_text(encoding="utf-8"))
    page = (tmp_path / "benchmarks.md").read_text(encoding="utf-8")
    assert written["explaining"] == {"kept": True}
    assert written["serving"]["servers"][0]["answers_per_second"]["median"] == 700
    assert page.startswith("# Benchmarks\n\n## Explaining\n\nKept.\n")
    assert page.count("## Serving") == 1
    assert "700 (700 to 700)" in page
    assert "600 (600 to 600)" not in page


def test_what_follows_the_section_stays_behind_it() -> None:
    page = report.with_section("", "old\n") + "\n## Explaining\n"
    again = report.with_section(page, "new\n")
    assert "old" not in again
    assert again.index("new") < again.index("## Explaining")
    assert report.with_section(again, "new\n") == again


# --- servers ----------------------------------------------------------------------------------------------------------


def test_a_score_is_found_wherever_a_protocol_puts_it() -> None:
    answer = {"outputs": [{"data": [0.25]}]}
    assert processes.score_in(answer, ("outputs", 0, "data", 0)) == 0.25


@pytest.mark.parametrize("answer", [{}, {"score": None}, [], {"score": "high"}])
def test_an_answer_without_a_score_is_refused(answer: object) -> None:
    with pytest.raises(processes.ServerError, match="no score"):
        processes.score_in(answer, ("score",))


def test_the_last_line_that_says_something_is_short() -> None:
    assert processes.last_line("first\n  last  \n\n") == "last"
    assert processes.last_line("") == "it said nothing"
    assert len(processes.last_line("x" * 1000)) == 160


def test_free_ports_are_different() -> None:
    assert len(set(processes.free_ports(3))) == 3


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="pinning needs Linux")
def test_a_server_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    log = tmp_path / "log"
    before = os.sched_getaffinity(0)
    core = min(before)
    seen: list[int] = []

    def interrupted() -> None:
        command = [sys.executable, "-c", code]
        with processes.server(command, core=core, folder=tmp_path, variables=dict(os.environ), log=log):
            seen.append(_first_number(log))
            assert os.sched_getaffinity(seen[0]) == {core}
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert os.sched_getaffinity(0) == before
    assert not _runs(seen[0])


def test_a_command_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    code = f"echo $$ >'{tmp_path / 'pid'}'; exec sleep 600"  # of a shell, which says its number at once
    with pytest.raises(subprocess.TimeoutExpired):
        processes.run_command(["sh", "-c", code], seconds=3)
    assert not _runs(int((tmp_path / "pid").read_text(encoding="utf-8")))


def _first_number(log: Path) -> int:
    for _ in range(600):
        text = log.read_text(encoding="utf-8")
        if text.endswith("\n"):
            return int(text)
        subprocess.run(["sleep", "0.05"], check=True)
    raise AssertionError("the child did not say its number")


def _runs(number: int) -> bool:
    """Return whether a process runs; one that ended and waits to be collected does not."""
    for _ in range(600):
        try:
            state = Path(f"/proc/{number}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        except OSError:
            return False
        if state == "Z":
            return False
        subprocess.run(["sleep", "0.05"], check=True)
    return True


# --- the catalogue ----------------------------------------------------------------------------------------------------


def test_names_are_unique_and_the_targets_are_among_them() -> None:
    names = [peer.name for peer in PEERS]
    assert len(set(names)) == len(names)
    assert names[0] == SERVICE
    assert {name for name, _ in results.TARGETS} <= set(names)


@pytest.mark.parametrize("peer", [peer for peer in PEERS if peer.environment], ids=lambda peer: peer.name)
def test_requirements_are_locked_by_hash_and_name_no_address(peer: Peer) -> None:
    text = peer.requirements.read_text(encoding="utf-8")
    packages = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
    assert packages
    assert all("==" in line and line.endswith("\\") for line in packages)
    assert "://" not in text


def test_a_peer_that_is_not_installed_is_said_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(catalogue, "ENVIRONMENTS", tmp_path)
    assert environments.is_installed(PEER[SERVICE])
    assert not environments.is_installed(PEER["mlserver"])
