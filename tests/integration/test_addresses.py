"""What only a real S3 shows: keys, buckets, slow and cut connections, and a whole training and refresh on it."""

import hashlib
import json
import os
import shutil
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from antifraud.cli import main
from model.statistics import HOUR, Snapshot
from model.training.addresses import (
    AddressError,
    Days,
    Place,
    open_address,
    readable,
    snapshot,
    with_tags,
    worked_on_here,
)
from model.training.addresses.copies import fetched
from model.training.addresses.duckdb_window import _WatchedFile
from model.training.addresses.snapshot import verify
from model.training.database import connect
from model.training.dataset import read_snapshot
from model.training.history import UnreadableFileError, history_sql, open_history
from model.training.prepare import CleaningReport, prepare
from model.training.progress import Stages
from model.training.refresh.advance import Fresh, Task, advance
from model.training.refresh.contract import Rules
from model.training.simulation import PROFILES, simulate
from stack.servers import S3, Proxy, Toxiproxy
from tests.integration.started import started
from tests.model.training.histories import HASHER, START, TERMS, csv_text, payment, write_parquet

pytestmark = pytest.mark.integration

BANK = replace(PROFILES["small"], days=12, customers=300, terminals=300)
DAY = 24 * HOUR


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    with started(S3(tmp_path_factory.mktemp("s3"))) as server:
        server.make_bucket("bank")
        yield server


@pytest.fixture
def s3(server: S3, monkeypatch: pytest.MonkeyPatch) -> S3:
    use(monkeypatch, server.environment())
    return server


@pytest.fixture
def place(s3: S3, request: pytest.FixtureRequest) -> Place:
    """Return an empty folder of the test's own."""
    return open_address(f"s3://bank/{hashlib.sha256(request.node.name.encode()).hexdigest()[:12]}")


@pytest.fixture
def proxy(s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    with started(Toxiproxy(tmp_path / "toxiproxy")) as toxiproxy:
        proxy = toxiproxy.proxy(s3.port)
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
        yield proxy


def use(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], *, patience: float = 3) -> None:
    for name, value in {**variables, "FRAUD_STORE_PATIENCE_SECONDS": str(patience)}.items():
        monkeypatch.setenv(name, value)


def again(place: Place) -> Place:
    """Return the place as the environment leads to it by now."""
    return open_address(place.address)


def test_a_written_file_is_listed_and_read_and_replaced(place: Place) -> None:
    for content in (b"one", b"another", b""):
        place.write_bytes("date=2026-01-01/a b?.bin", content)
        assert place.read_bytes("date=2026-01-01/a b?.bin") == content
    assert [(file.name, file.size) for file in place.list_files()] == [("date=2026-01-01/a b?.bin", 0)]
    place.delete("date=2026-01-01")
    assert not place.exists("date=2026-01-01/a b?.bin")


def test_a_write_that_fails_is_never_seen(place: Place) -> None:
    place.write_bytes("a", b"before")
    with pytest.raises(KeyError), place.writing("a") as sink:
        fill(sink)
    assert place.read_bytes("a") == b"before"


def fill(sink: Any) -> None:
    sink.write(bytes(20_000_000))
    raise KeyError


def test_a_snapshot_is_switched_by_its_manifest(place: Place) -> None:
    for content in (b"1", b"2", b"3"):
        with snapshot(place) as draft:
            with draft.writing("date=2026-01-01/a") as sink:
                sink.write(content)
            assert [file.name for file in place.list_files() if content == b"2"] == ["date=2026-01-01/a"][
                content != b"2" :
            ]
        verify(place)
        assert [(file.name, file.tag) for file in place.list_files()] == [
            ("date=2026-01-01/a", hashlib.sha256(content).hexdigest())
        ]
    assert len(place.below(hidden=True)) == 3  # the manifest, its file, and that of the snapshot before


def test_a_file_that_was_replaced_within_a_second_by_one_of_its_size_has_another_tag(place: Place) -> None:
    tags = set()
    for content in (b"one", b"two", b"six"):
        place.write_bytes("a", content)
        tags |= {file.tag for file in with_tags(place.list_files())}
    assert len(tags) == 3


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "a wrong secret"}, "access was refused"),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, "access"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "the store did not answer as it should"),
        ({"AWS_ENDPOINT_URL": "http://user:secret@127.0.0.1:1"}, "without path, user or password"),
    ],
)
def test_a_wrong_key_secret_or_endpoint_is_one_clear_error(
    place: Place, changed: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.write_bytes("a", b"content")
    use(monkeypatch, changed, patience=1)
    for act in (lambda: again(place).list_files(), lambda: again(place).write_bytes("b", b"x")):
        with pytest.raises(AddressError, match=said) as caught:
            act()
        assert "secret" not in str(caught.value).replace("AWS_SECRET_ACCESS_KEY", "")


def test_keys_may_come_from_a_profile(place: Place, s3: S3, tmp_path: Path) -> None:
    place.write_bytes("a", b"content")
    lines = f"aws_access_key_id = {s3.access_key}\naws_secret_access_key = {s3.secret_key}\n"
    (tmp_path / "credentials").write_text(f"[default]\naws_access_key_id = nobody\n\n[bank]\n{lines}")
    program = (
        "import sys; from model.training.addresses import open_address\nprint(open_address(sys.argv[1]).read_bytes())"
    )
    # In a process of its own: what the files say is read once.
    environment = {name: value for name, value in os.environ.items() if "ACCESS_KEY" not in name} | {
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
        "AWS_PROFILE": "bank",
    }
    command = [sys.executable, "-c", program, f"{place.address}/a"]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, "b'content'\n"), ran.stderr


class EncryptedS3(S3):
    """A store that is spoken to by TLS, with a certificate of its own authority."""

    @property
    def endpoint(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def certificate(self) -> Path:
        return self.folder / "certificate.pem"

    def _launch(self, command: Sequence[str | Path], ready: Callable[[], bool], **named: Any) -> None:
        key = self.folder / "key.pem"
        made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        made += ["-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
        subprocess.run([*made, "-keyout", str(key), "-out", str(self.certificate)], check=True, capture_output=True)
        program, *rest = command
        super()._launch([program, "--cert", str(self.certificate), "--key", str(key), *rest], ready, **named)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is missing")
def test_a_certificate_counts_if_its_authority_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with started(EncryptedS3(tmp_path / "s3")) as store:
        monkeypatch.setenv("AWS_CA_BUNDLE", str(store.certificate))
        store.make_bucket("bank")
        use(monkeypatch, store.environment(), patience=1)
        place = open_address("s3://bank/history")
        place.write_bytes("a", b"content")
        assert place.read_bytes("a") == b"content"
        monkeypatch.delenv("AWS_CA_BUNDLE")
        with pytest.raises(AddressError, match="s3://bank/history"):
            again(place).read_bytes("a")


def test_a_wrong_bucket_is_said(s3: S3) -> None:
    wrong = open_address("s3://nowhere/history")
    for act in (wrong.list_files, lambda: wrong.write_bytes("a", b"x")):
        with pytest.raises(AddressError, match=r"s3://nowhere/history.*: there is no such bucket"):
            act()


def test_a_verb_says_what_is_wrong_in_one_line(
    s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FRAUD_ID_KEY", "a key of the tests only")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a wrong secret")
    arguments = ["train", "--history", "s3://bank/history", "--work-folder", str(tmp_path)]
    assert main(arguments) == 1
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if line.startswith("antifraud: ")] == said[-1:]
    assert said[-1].startswith("antifraud: s3://bank/history")
    assert "access was refused" in said[-1]


def history_of(place: Place, days: int) -> list[str]:
    """Write a history in folders of days, and return its names."""
    names = []
    for day in range(days):
        date = datetime.fromtimestamp(START + day * DAY, UTC).date()
        rows = [payment(1000 * day + n, tx_datetime=_moment(day, n)) for n in range(1, 40)]
        names.append(f"date={date}/part-0.parquet")
        with place.writing(names[-1]) as sink:
            pq.write_table(pa.Table.from_pylist(rows), sink)
    return names


def _moment(day: int, minute: int) -> datetime:
    return datetime.fromtimestamp(START + day * DAY + 60 * minute, UTC).replace(tzinfo=None)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Return the names of files whose content was asked for, as they are."""
    names: set[str] = set()
    read = _WatchedFile.read_at

    def watched(self: _WatchedFile, offset: int, size: int | None = -1) -> bytes:
        names.add(self._place.address)
        return read(self, offset, size)

    monkeypatch.setattr("model.training.addresses.steady_file.SteadyFile.read_at", watched)
    return names


def cleaned(
    address: str | Path, folder: Path, *, days: Days | None = None, skip_unreadable: bool = False
) -> tuple[CleaningReport, Snapshot]:
    with connect(folder, memory_limit="1GB", threads=2) as connection:
        terms = replace(TERMS, skip_unreadable=skip_unreadable)
        report = prepare(connection, address, terms, days=days)
        rows = connection.execute("SELECT MAX(tx_seconds) FROM transactions").fetchall()[0][0]
        return report, read_snapshot(connection, as_of_hour=rows // HOUR + 1)


def test_folders_of_days_that_do_not_matter_are_not_opened(place: Place, tmp_path: Path, opened: set[str]) -> None:
    from model.training.addresses import Days

    names = history_of(place, 10)
    report, _ = cleaned(place.address, tmp_path, days=Days.of_seconds(START + 4 * DAY, START + 6 * DAY))
    # Days 4 and 5, and one around them.
    assert opened == {f"{place}/{name}" for name in names[3:7]}
    assert report.rows_kept == 4 * 39


def test_only_the_columns_and_row_groups_that_are_asked_for_travel(place: Place) -> None:
    rows = 400_000
    rng = np.random.default_rng(1)
    table = pa.table(
        {
            "transaction_id": np.arange(rows),
            "tx_datetime": pa.array(np.arange(rows) * 1_000_000 + START * 1_000_000, pa.timestamp("us")),
            "customer_id": rng.integers(0, 10**6, rows),
            "terminal_id": rng.integers(0, 10**6, rows),
            "tx_amount": rng.random(rows),
            "tx_fraud": np.zeros(rows, dtype=np.int64),
        }
    )
    with place.writing("a.parquet") as sink:
        pq.write_table(table, sink, row_group_size=40_000)
    size = place.list_files()[0].size
    files = open_history(place.address)
    whole, column, group = (
        travelled(files, query)
        for query in (
            "SELECT MAX(COLUMNS(*)) FROM history",
            "SELECT SUM(tx_amount) FROM history",
            f"SELECT SUM(tx_amount) FROM read_parquet('{files[0].path}') WHERE tx_datetime < '{_moment(0, 60)}'",
        )
    )
    assert whole >= 0.9 * size
    assert 0.2 * size < column < 0.45 * size
    assert group < 0.1 * size


def travelled(files: Any, query: str) -> int:
    """Return how many bytes a query reads."""
    counted = [0]
    read = _WatchedFile.read_at

    def watched(self: _WatchedFile, offset: int, size: int | None = -1) -> bytes:
        content = read(self, offset, size)
        counted[0] += len(content)
        return content

    with pytest.MonkeyPatch.context() as patch, duckdb.connect() as connection:
        patch.setattr(_WatchedFile, "read_at", watched)
        with readable(connection, [file.path for file in files]):
            connection.execute(f"CREATE VIEW history AS {history_sql(files)}")
            connection.execute(query).fetchall()
    return counted[0]


@pytest.mark.parametrize("name", ["h.csv", "h.csv.gz"])
def test_csv_is_read_as_parquet_is(place: Place, name: str, tmp_path: Path) -> None:
    import gzip

    rows = [payment(number, customer_id=number % 7) for number in range(1, 60_000)]
    text = csv_text(rows).encode()
    place.write_bytes(name, gzip.compress(text) if name.endswith(".gz") else text)
    write_parquet(tmp_path / "h.parquet", rows)
    there, here = cleaned(place.address, tmp_path / "a"), cleaned(tmp_path / "h.parquet", tmp_path / "b")
    assert there[0] == here[0]
    assert equal(there[1], here[1])


def equal(one: Snapshot, other: Snapshot) -> bool:
    """Say whether two statistics are the same to the last bit."""
    parts = [(a, b) for name in ("customer", "terminal") for a, b in [(getattr(one, name), getattr(other, name))]]
    return one.as_of_hour == other.as_of_hour and all(
        a.keys.tobytes() == b.keys.tobytes() and a.sums.tobytes() == b.sums.tobytes() for a, b in parts
    )


@pytest.mark.slow
def test_simulated_trained_and_refreshed_on_s3_is_as_here_to_the_last_bit(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRAUD_ID_KEY", "a key of the tests only")
    addresses = {"here": str(tmp_path / "history"), "there": f"{place}/history"}
    size = ["--days", "40", "--customers", "300", "--terminals", "300"]
    for address in addresses.values():
        assert main(["simulate", "--out", address, *size]) == 0
        assert main(["simulate", "--out", address, *size]) == 0  # goes on where it stopped: at the end
    assert contents(addresses["here"]) == contents(addresses["there"])
    models, statistics = set(), set()
    for name, address in addresses.items():
        work = ["--work-folder", str(tmp_path / name)]
        common = ["--history", address, *work, "--threads", "1"]
        assert main(["train", *common, "--trees", "5"]) == 0
        assert main(["refresh", *common]) == 0
        assert main(["refresh", *common]) == 0
        said = json.loads((tmp_path / name / "refresh/last_run.json").read_text())
        assert said["files_read"] == 0  # the second run has seen all files as they are
        models.add((tmp_path / name / "report/evaluation.json").read_text())
        statistics.add(said["statistics_version"])
    assert len(models) == 1
    assert len(statistics) == 1
    tasks = [task(address, tmp_path / f"state-{name}") for name, address in addresses.items()]
    here, there = (fresh(each).snapshot for each in tasks)
    assert here is not None
    assert there is not None
    assert equal(here, there)


def contents(address: str) -> dict[str, bytes]:
    place = open_address(address)
    return {file.name: place.read_bytes(file.name) for file in place.list_files()}


def task(address: str, folder: Path, **changes: Any) -> Task:
    from model.address import location

    found: Any = location(address)
    folder.mkdir(exist_ok=True)
    made = Task(found, None, folder, Rules(DAY, 240), HASHER, memory_limit="1GB", threads=2)
    return replace(made, **changes)


def fresh(task: Task) -> Fresh:
    with Stages(9, shown=False) as stages:
        return advance(task, stages=stages, say=lambda text: None)


def test_a_refresh_notices_what_changed_and_opens_only_its_days(place: Place, tmp_path: Path, opened: set[str]) -> None:
    names = history_of(place, 60)
    hour = START // HOUR + 60 * 24
    now = task(place.address, tmp_path / "state", as_of_hour=hour)
    now = replace(now, rules=Rules(DAY, 24))
    first = fresh(now)
    # 30 days of the longest window, one of reports that come late, one around each end.
    assert first.files_read == 32
    assert opened == {f"{place}/{name}" for name in names[-32:]}
    opened.clear()
    rows = [payment(n, tx_datetime=_moment(59, n)) for n in range(1, 30)]
    with place.writing(names[-1]) as sink:
        pq.write_table(pa.Table.from_pylist(rows), sink)
    second = fresh(now)
    assert (second.files_read, second.files_gone) == (1, 1)
    assert opened == {f"{place}/{names[-1]}"}


def test_one_broken_file_is_named_or_skipped_if_asked(place: Place, tmp_path: Path) -> None:
    names = history_of(place, 20)
    content = bytearray(place.read_bytes(names[7]))
    content[4:200] = bytes(196)  # its footer is sound
    place.write_bytes(names[7], bytes(content))
    place.write_bytes(names[11], b"no Parquet at all")
    with pytest.raises(UnreadableFileError, match=f"{names[11]}: not a readable parquet file"):
        cleaned(place.address, tmp_path / "a")
    report, _ = cleaned(place.address, tmp_path / "b", skip_unreadable=True)
    assert set(report.files_skipped) == {f"{place}/{names[7]}", f"{place}/{names[11]}"}
    assert report.rows_kept == 18 * 39
    assert f"skipped: {place}/{names[7]}" in report.render()
    taken = fresh(task(place.address, tmp_path / "c", skip_unreadable=True))
    assert set(taken.cleaning.files_skipped) == set(report.files_skipped)
    place.delete(names[11])
    history_of(place, 20)
    assert fresh(task(place.address, tmp_path / "c", skip_unreadable=True)).cleaning.files_skipped == ()


def break_off(folder: Path) -> None:
    (folder / "three").write_text("three")
    raise KeyError


def test_a_report_folder_is_fetched_worked_on_and_published(place: Place, tmp_path: Path) -> None:
    for step in ("one", "two"):
        with worked_on_here(place.address, tmp_path / "work") as folder:
            assert (folder / "cells/one").exists() == (step == "two")
            (folder / "cells").mkdir(exist_ok=True)
            (folder / "cells" / step).write_text(step)
    with pytest.raises(KeyError), worked_on_here(place.address, tmp_path / "work") as folder:
        break_off(folder)
    copy = fetched(place.address, tmp_path / "copy")
    assert sorted(path.name for path in copy.rglob("*") if path.is_file()) == ["one", "two"]


def test_cut_offs_are_read_from_a_report_in_a_store(place: Place, tmp_path: Path, capsys: Any) -> None:
    rows = [{"budget": budget, "kind": "review", "test": {}} for budget in (0.01, 0.05)]
    with worked_on_here(place.address, tmp_path / "work") as folder:
        (folder / "evaluation.json").write_text(json.dumps({"rows": rows}))
    assert main(["cutoffs", "--report", place.address]) == 1
    assert capsys.readouterr().err.startswith(f"antifraud: {place}: no table of budgets there")


# Faults on the way.


def test_a_slow_store_is_waited_for(place: Place, proxy: Proxy) -> None:
    proxy.toxic("latency", latency=300, jitter=100)
    proxy.toxic("bandwidth", rate=2000)
    again(place).write_bytes("a", b"x" * 100_000)
    assert again(place).read_bytes("a") == b"x" * 100_000


def test_a_connection_that_is_cut_half_way_is_made_again(place: Place, proxy: Proxy) -> None:
    content = np.random.default_rng(1).bytes(4_000_000)
    again(place).write_bytes("a", content)
    proxy.toxic("limit_data", bytes=1_500_000)
    heal = threading.Timer(1.0, proxy.heal)
    heal.start()
    assert again(place).read_bytes("a") == content
    heal.join()


def test_a_store_that_stays_away_is_an_error_and_no_partial_result(
    place: Place, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = history_of(place, 3)
    monkeypatch.setenv("FRAUD_STORE_PATIENCE_SECONDS", "1")
    proxy.toxic("limit_data", bytes=1)
    with pytest.raises(AddressError, match=f"{place}.*the store did not answer as it should.*repeat the command"):
        cleaned(place.address, tmp_path / "a")
    with pytest.raises(AddressError, match="the store did not answer"):
        again(place).write_bytes("new", bytes(10_000_000))
    proxy.heal()
    assert [file.name for file in again(place).list_files()] == names


def test_a_store_that_fails_while_duckdb_reads_is_named_and_no_broken_file(
    place: Place, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history_of(place, 3)
    monkeypatch.setenv("FRAUD_STORE_PATIENCE_SECONDS", "1")
    files = open_history(place.address)
    proxy.enable(False)
    with duckdb.connect() as connection, pytest.raises(AddressError, match="the store did not answer"):
        read_all(connection, files)


def read_all(connection: duckdb.DuckDBPyConnection, files: Any) -> None:
    with readable(connection, [file.path for file in files]):
        connection.execute(f"SELECT COUNT(DISTINCT customer_id) FROM ({history_sql(files)})").fetchall()


@contextmanager
def answering(upstream: int, status: str, *, times: int) -> Iterator[str]:
    """Give the address of a store that answers some times with a status, and then passes connections on."""
    left = [times]

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            left[0] -= 1
            if left[0] < 0:
                _pass_on(self.request, upstream)
                return
            self.request.recv(1 << 16)
            self.request.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def _pass_on(client: socket.socket, upstream: int) -> None:
    with socket.create_connection(("127.0.0.1", upstream)) as server:
        back = threading.Thread(target=_copy, args=(server, client))
        back.start()
        _copy(client, server)
        back.join()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    try:
        while content := source.recv(1 << 16):
            sink.sendall(content)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        return


@pytest.mark.parametrize("status", ["500 Internal Server Error", "503 Slow Down"])
def test_a_store_in_trouble_is_asked_again(place: Place, s3: S3, status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place.write_bytes("a", b"content")
    monkeypatch.setenv("FRAUD_STORE_PATIENCE_SECONDS", "30")
    with answering(s3.port, status, times=4) as endpoint:  # more often than the client of S3 tries by itself
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        assert again(place).read_bytes("a") == b"content"


def test_a_store_that_forbids_is_not_asked_again(place: Place, s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    place.write_bytes("a", b"content")
    with answering(s3.port, "403 Forbidden", times=1) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        with pytest.raises(AddressError, match="access was refused"):
            again(place).read_bytes("a")
        assert again(place).read_bytes("a") == b"content"  # the one refusal was the answer


def test_simulation_goes_on_where_a_cut_connection_ended_it(
    place: Place, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FRAUD_STORE_PATIENCE_SECONDS", "1")
    simulate(replace(BANK, days=3), place.address, progress=False)
    proxy.toxic("limit_data", stream="upstream", bytes=9_000)  # a day has more
    with pytest.raises(AddressError, match="the store did not answer"):
        simulate(replace(BANK, days=60), place.address, progress=False)
    proxy.heal()
    simulate(replace(BANK, days=60), place.address, progress=False)
    simulate(replace(BANK, days=60), tmp_path / "whole", progress=False)
    assert contents(place.address) == contents(str(tmp_path / "whole"))
