import json
import logging
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import httpx
import pytest

from model.registry import (
    CHALLENGER,
    CHAMPION,
    CURRENT,
    MODEL_NAME,
    STATISTICS_NAME,
    AliasNotFoundError,
    ArtifactError,
    Limits,
    Publisher,
    RegistryError,
    RegistryReader,
    RegistryUnavailableError,
    Version,
    embedded_uri,
    open_publisher,
    open_reader,
)

REPOSITORY = Path(__file__).parents[2]
SECRET = "s3cr3t-w0rd"  # noqa: S105 - must never be seen again
FILES = {"manifest.json": b"{}", "model.txt": bytes(range(256)) * 64, "sub/rows-1.bin": b"\0\1", "empty": b""}


# --- the embedded registry, for real ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("registry") / "a bank, 100%"


@pytest.fixture(scope="module")
def publisher(home: Path) -> Publisher:
    return open_publisher(embedded_uri(home))


@pytest.fixture
def reader(publisher: Publisher, home: Path) -> RegistryReader:
    return open_reader(embedded_uri(home))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_files(tmp_path / "bundle", FILES)


def write_files(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def read_files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def publish(publisher: Publisher, folder: Path, name: str = MODEL_NAME) -> Version:
    with publisher.run("training", "a run", {}) as run:
        return publisher.publish(name, folder, run_id=run.run_id, tags={"manifest_sha256": "abc"})


def test_what_was_published_comes_back_byte_for_byte(
    publisher: Publisher, reader: RegistryReader, folder: Path, tmp_path: Path
) -> None:
    version = publish(publisher, folder)
    publisher.set_alias(MODEL_NAME, CHAMPION, version.version)

    found = reader.resolve(MODEL_NAME, CHAMPION)
    reader.download(found, tmp_path / "new" / "pod")

    assert found == version
    assert found.tags == {"manifest_sha256": "abc"}
    assert read_files(tmp_path / "new" / "pod") == FILES
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["pod"]


def test_no_alias_points_at_a_new_version_until_it_is_set(publisher: Publisher, folder: Path) -> None:
    before = publisher.find_alias(MODEL_NAME, CHALLENGER)
    version = publish(publisher, folder)

    assert publisher.find_alias(MODEL_NAME, CHALLENGER) == before
    publisher.set_alias(MODEL_NAME, CHALLENGER, version.version)
    assert publisher.find_alias(MODEL_NAME, CHALLENGER) == version


def test_an_alias_moves_back_to_an_older_version(publisher: Publisher, folder: Path) -> None:
    older, newer = publish(publisher, folder), publish(publisher, folder)
    publisher.set_alias(MODEL_NAME, "moving", newer.version)
    publisher.set_alias(MODEL_NAME, "moving", older.version)

    assert publisher.find_alias(MODEL_NAME, "moving") == older


def test_two_versions_of_one_run_do_not_share_their_files(
    publisher: Publisher, reader: RegistryReader, tmp_path: Path
) -> None:
    with publisher.run("training", "twice", {}) as run:
        first, second = (
            publisher.publish(STATISTICS_NAME, write_files(tmp_path / name, {name: b"x"}), run_id=run.run_id, tags={})
            for name in ("one", "two")
        )
    reader.download(first, tmp_path / "first")
    reader.download(second, tmp_path / "second")

    assert read_files(tmp_path / "first") == {"one": b"x"}
    assert read_files(tmp_path / "second") == {"two": b"x"}


def test_versions_are_listed_newest_first(publisher: Publisher, folder: Path) -> None:
    for _ in range(11):
        publish(publisher, folder, "many")

    assert [version.version for version in publisher.versions("many")] == [str(n) for n in range(11, 0, -1)]


def test_an_unknown_model_has_no_versions_and_no_alias(publisher: Publisher, reader: RegistryReader) -> None:
    assert publisher.versions("nobody") == []
    assert publisher.find_alias("nobody", CURRENT) is None
    with pytest.raises(AliasNotFoundError, match=r"'nobody' carries the alias 'current'.*antifraud train"):
        reader.resolve("nobody", CURRENT)


def test_an_alias_cannot_point_at_a_version_that_does_not_exist(publisher: Publisher, folder: Path) -> None:
    publish(publisher, folder)
    with pytest.raises(RegistryError, match=r"refused.*version=999"):
        publisher.set_alias(MODEL_NAME, CHAMPION, "999")


def test_two_publishers_at_once_make_two_versions(publisher: Publisher, home: Path, folder: Path) -> None:
    made: list[str] = []
    threads = [
        threading.Thread(
            target=lambda: made.append(publish(open_publisher(embedded_uri(home)), folder, "rush").version)
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(made) == ["1", "2", "3", "4"]


def test_a_run_keeps_settings_figures_and_files(publisher: Publisher, home: Path, folder: Path) -> None:
    from mlflow import MlflowClient

    class Figure:
        def savefig(self, path: str, **_: object) -> None:
            Path(path).write_bytes(b"picture")

    with publisher.run("training", "complete", {"code": "1.0"}) as run:
        run.log_params({f"setting_{n}": n for n in range(150)})
        run.log_metrics({"recall": 0.95, "precision": float("nan")})
        run.log_tags({"promoted": "no"})
        run.log_file(folder / "manifest.json", "reports")
    client = MlflowClient(embedded_uri(home))
    stored = client.get_run(run.run_id)
    assert (stored.info.run_name, stored.info.status) == ("complete", "FINISHED")
    assert (len(stored.data.params), stored.data.metrics["recall"]) == (150, 0.95)
    assert (stored.data.tags["code"], stored.data.tags["promoted"]) == ("1.0", "no")
    assert [file.path for file in client.list_artifacts(run.run_id, "reports")] == ["reports/manifest.json"]


def test_a_setting_is_not_written_twice(publisher: Publisher) -> None:
    with publisher.run("training", "changed", {}) as run:
        run.log_params({"trees": 100})
        run.log_params({"trees": 100})
        with pytest.raises(RegistryError, match="refused"):
            run.log_params({"trees": 200})


@pytest.mark.parametrize(("raised", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_a_run_that_breaks_says_so_and_lets_the_error_through(
    publisher: Publisher, home: Path, raised: type[BaseException], status: str
) -> None:
    from mlflow import MlflowClient

    with pytest.raises(raised), publisher.run("training", "broken", {}) as run:
        raise raised

    assert MlflowClient(embedded_uri(home)).get_run(run.run_id).info.status == status


def test_an_empty_folder_is_not_published(publisher: Publisher, tmp_path: Path) -> None:
    with publisher.run("training", "empty", {}) as run, pytest.raises(ArtifactError, match="holds no files"):
        publisher.publish("hollow", tmp_path, run_id=run.run_id, tags={})
    assert publisher.versions("hollow") == []


@pytest.mark.parametrize("name", ["a#b", "a%20b", "a?b", "a b", "sub/é"])
def test_a_file_name_that_would_not_survive_the_upload_is_refused(
    publisher: Publisher, tmp_path: Path, name: str
) -> None:
    write_files(tmp_path / "bundle", {name: b"x"})
    with publisher.run("training", "odd", {}) as run, pytest.raises(ArtifactError, match="cannot be published"):
        publisher.publish("odd", tmp_path / "bundle", run_id=run.run_id, tags={})
    assert publisher.versions("odd") == []


def test_files_that_were_moved_away_are_named(
    publisher: Publisher, reader: RegistryReader, folder: Path, tmp_path: Path, home: Path
) -> None:
    version = publish(publisher, folder, "moved")
    (home / "artifacts").rename(home / "elsewhere")
    try:
        with pytest.raises(ArtifactError, match="was the registry's folder moved"):
            reader.download(version, tmp_path / "pod")
    finally:
        (home / "elsewhere").rename(home / "artifacts")
    assert not (tmp_path / "pod").exists()


def test_a_download_replaces_an_empty_folder_and_refuses_a_full_one(
    publisher: Publisher, reader: RegistryReader, folder: Path, tmp_path: Path
) -> None:
    version = publish(publisher, folder)
    (tmp_path / "pod").mkdir()
    reader.download(version, tmp_path / "pod")

    with pytest.raises(ArtifactError, match="already holds something"):
        reader.download(version, tmp_path / "pod")
    assert read_files(tmp_path / "pod") == FILES


@pytest.mark.parametrize("limits", [Limits(entries=3), Limits(total_bytes=100)])
def test_a_version_beyond_the_limits_leaves_nothing_on_disk(
    publisher: Publisher, home: Path, folder: Path, tmp_path: Path, limits: Limits
) -> None:
    version = publish(publisher, folder)
    with pytest.raises(ArtifactError, match=r"more than 3 files|more than the 100 allowed"):
        open_reader(embedded_uri(home), limits=limits).download(version, tmp_path / "pods" / "pod")
    assert list((tmp_path / "pods").iterdir()) == []


def test_asking_an_embedded_registry_that_is_not_there_creates_nothing(tmp_path: Path) -> None:
    with pytest.raises(RegistryUnavailableError, match="antifraud train"):
        open_reader(embedded_uri(tmp_path / "none")).resolve(MODEL_NAME, CHAMPION)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"not a database" * 100)
    with pytest.raises(RegistryUnavailableError, match="is not a SQLite file"):
        open_publisher(embedded_uri(tmp_path))


def test_the_first_open_prints_nothing(tmp_path: Path) -> None:
    done = run_python(f"from model.registry import open_publisher; open_publisher({embedded_uri(tmp_path)!r})")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mlflow.db", "mlflow.lock"]


def test_mlflow_is_loaded_by_nobody_who_does_not_need_it() -> None:
    done = run_python(
        "import sys; from model.registry import open_reader; open_reader('http://127.0.0.1:1');"
        "print(sorted({'mlflow', 'sqlalchemy', 'pandas'} & set(sys.modules)))"
    )

    assert (done.returncode, done.stdout) == (0, "[]\n")


def test_a_missing_mlflow_is_one_line_that_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"SQLite format 3\0")
    done = run_python(
        "import sys; sys.modules['mlflow'] = None\n"
        "from model.registry import RegistryError, open_reader\n"
        f"try: open_reader({embedded_uri(tmp_path)!r}).resolve('fraud-model', 'champion')\n"
        "except RegistryError as error: print(error)"
    )

    assert done.returncode == 0
    assert "pip install" in done.stdout
    assert done.stdout.count("\n") == 1


def run_python(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False
    )


def shown(refused: pytest.ExceptionInfo[BaseException]) -> str:
    return "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("sqlite:///relative.db", "absolute path"),
        ("sqlite:////somewhere?mode=ro", "absolute path"),
        ("./mlruns", "must begin with"),
        (f"postgresql://ada:{SECRET}@db/mlflow", "must begin with"),
        (f"http://ada:{SECRET}@host:not-a-port", "not a valid"),
        (f"https://ada:{SECRET}@[::1/", "not a valid"),
        ("http://", "not a valid"),
    ],
)
def test_an_unusable_address_is_refused_without_its_password(uri: str, reason: str) -> None:
    with pytest.raises(RegistryError, match=reason) as refused:
        open_reader(uri)
    assert SECRET not in shown(refused)


def test_a_server_is_not_told_where_to_put_its_files(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="decides itself"):
        open_publisher("http://127.0.0.1:1", str(tmp_path))


# --- a server that lies ----------------------------------------------------------------------------------------------


@dataclass
class Liar:
    """A server whose answers a test sets, by path (and by the `path` it is asked to list)."""

    address: str = ""
    answers: dict[str, tuple[int, bytes, int | None]] = field(default_factory=dict)
    authorizations: list[str | None] = field(default_factory=list)

    def say(self, path: str, body: object, *, status: int = 200, announced: int | None = None) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.answers[path] = (status, content, announced)

    def hold(self, listing: list[dict[str, Any]], files: dict[str, bytes]) -> None:
        self.say("/api/2.0/mlflow/model-versions/get-download-uri", {"artifact_uri": "mlflow-artifacts:/top"})
        self.say("/api/2.0/mlflow-artifacts/artifacts?top", {"files": listing})
        for name, content in files.items():
            self.say(f"/api/2.0/mlflow-artifacts/artifacts/top/{name}", content)


@contextmanager
def serving(liar: Liar) -> Iterator[Liar]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            liar.authorizations.append(self.headers["Authorization"])
            parts = urlsplit(self.path)
            listed = parse_qs(parts.query).get("path")
            key = unquote(parts.path) + (f"?{listed[0]}" if listed else "")
            status, body, announced = liar.answers.get(key, (404, b'{"error_code": "ENDPOINT_NOT_FOUND"}', None))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) if announced is None else announced))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Keep the terminal clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        liar.address = f"127.0.0.1:{server.server_address[1]}"
        try:
            yield liar
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def liar() -> Iterator[Liar]:
    with serving(Liar()) as liar:
        yield liar


ALIAS = "/api/2.0/mlflow/registered-models/alias"
ANSWER: dict[str, Any] = {"model_version": {"name": MODEL_NAME, "version": "7", "source": "mlflow-artifacts:/top"}}
SEVEN = Version(MODEL_NAME, "7", "mlflow-artifacts:/top", {}, None)


def test_a_version_without_run_and_tags_is_understood(liar: Liar) -> None:
    liar.say(ALIAS, ANSWER)
    assert open_reader(f"http://{liar.address}/").resolve(MODEL_NAME, CHAMPION) == SEVEN


@pytest.mark.parametrize("prefix", ["/mlflow", "/a/b"])
def test_a_server_behind_a_path_is_found(liar: Liar, prefix: str) -> None:
    liar.say(prefix + ALIAS, ANSWER)
    assert open_reader(f"http://{liar.address}{prefix}/").resolve(MODEL_NAME, CHAMPION) == SEVEN


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (200, b'{"model_version": {"name": "fraud-mo', "not one that an MLflow server gives"),
        (200, b"<html><body>Sign in</body></html>", "not one that an MLflow server gives"),
        (200, b"\xff\xfe\x00", "not one that an MLflow server gives"),
        (200, {}, "not one that an MLflow server gives"),
        (200, [], "not one that an MLflow server gives"),
        (200, {"model_version": None}, "not one that an MLflow server gives"),
        (200, {"model_version": {"name": "m", "version": "../../etc"}}, "not one that an MLflow server gives"),
        (200, {"model_version": {"name": "m", "version": "1", "tags": [7]}}, "not one that an MLflow server gives"),
        (302, b"", r"answered with an error \(302\)"),
        (401, b"", "MLFLOW_TRACKING_TOKEN"),
        (403, b"Invalid Host header", "--allowed-hosts"),
        (404, b"<html>nginx</html>", r"answered with an error \(404\)"),
        (500, b"oops", r"answered with an error \(500\)"),
        (503, {"error_code": "TEMPORARILY_UNAVAILABLE"}, r"answered with an error \(503\)"),
    ],
)
def test_a_broken_answer_means_that_the_registry_is_unavailable(
    liar: Liar, status: int, body: object, reason: str
) -> None:
    liar.say(ALIAS, body, status=status)
    with pytest.raises(RegistryUnavailableError, match=reason):
        open_reader(f"http://{liar.address}").resolve(MODEL_NAME, CHAMPION)


def test_an_answer_without_end_is_given_up(liar: Liar, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.registry.rest.LONGEST_ANSWER", 1000)
    liar.say(ALIAS, b" " * 5000)
    with pytest.raises(RegistryUnavailableError, match="not one that"):
        open_reader(f"http://{liar.address}").resolve(MODEL_NAME, CHAMPION)


def test_a_half_sent_answer_means_that_the_registry_is_unavailable(liar: Liar) -> None:
    liar.say(ALIAS, b'{"model_version"', announced=500)
    with pytest.raises(RegistryUnavailableError, match="cannot be reached"):
        open_reader(f"http://{liar.address}").resolve(MODEL_NAME, CHAMPION)


def test_a_server_that_is_down_is_named() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
    with pytest.raises(RegistryUnavailableError, match=f"http://{address} cannot be reached"):
        open_reader(f"http://{address}").resolve(MODEL_NAME, CHAMPION)


def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.registry.rest.TIMEOUT", httpx.Timeout(0.2))
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        reader = open_reader(f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(RegistryUnavailableError, match="cannot be reached"):
            reader.resolve(MODEL_NAME, CHAMPION)


def file_line(path: str, size: int) -> dict[str, Any]:
    return {"path": path, "is_dir": False, "file_size": size}


def refuse_download(liar: Liar, tmp_path: Path, expected: type[RegistryError], reason: str) -> None:
    with pytest.raises(expected, match=reason):
        open_reader(f"http://{liar.address}").download(SEVEN, tmp_path / "pods" / "pod")
    assert list((tmp_path / "pods").glob("*")) == []


@pytest.mark.parametrize(
    "name", ["../evil", "..", ".", "", "/etc/passwd", "a/../../evil", "a\\..\\evil", "C:evil", "evil\0.txt"]
)
def test_a_file_name_that_leads_out_of_the_folder_is_refused(liar: Liar, tmp_path: Path, name: str) -> None:
    liar.hold([file_line("fine", 1), file_line(name, 1)], {"fine": b"x", name: b"x"})
    refuse_download(liar, tmp_path, ArtifactError, "lead out of its folder")
    assert list(tmp_path.rglob("evil*")) == []


def test_a_folder_name_that_leads_out_is_refused(liar: Liar, tmp_path: Path) -> None:
    liar.hold([{"path": "..", "is_dir": True}], {})
    refuse_download(liar, tmp_path, ArtifactError, "lead out of its folder")


def test_a_folder_that_holds_itself_for_ever_is_given_up(liar: Liar, tmp_path: Path) -> None:
    listing = {"files": [{"path": "deep", "is_dir": True}]}
    liar.hold([], {})
    for depth in range(300):
        liar.say("/api/2.0/mlflow-artifacts/artifacts?top" + "/deep" * depth, listing)
    refuse_download(liar, tmp_path, ArtifactError, "more than 256 files and folders")


@pytest.mark.parametrize(
    ("listing", "content", "reason"),
    [
        ([file_line("model.txt", 10)], b"short", "incomplete: 5 of 10 bytes"),
        ([file_line("model.txt", 3)], b"longer", "longer than the 3 bytes"),
        ([file_line("model.txt", 5), file_line("model.txt", 5)], b"twice", "lists a file twice"),
        ([file_line("model.txt", 3 * 2**30)], b"huge", "allowed"),
        ([], b"none", "no files"),
    ],
)
def test_files_that_are_not_as_announced_are_refused(
    liar: Liar, tmp_path: Path, listing: list[dict[str, Any]], content: bytes, reason: str
) -> None:
    liar.hold(listing, {"model.txt": content})
    refuse_download(liar, tmp_path, ArtifactError, reason)


def test_a_download_that_breaks_off_leaves_nothing(liar: Liar, tmp_path: Path) -> None:
    liar.hold([file_line("model.txt", 100)], {})
    liar.say("/api/2.0/mlflow-artifacts/artifacts/top/model.txt", b"half", announced=100)
    refuse_download(liar, tmp_path, ArtifactError, "model.txt .*broke off")


def test_a_file_that_vanished_leaves_nothing(liar: Liar, tmp_path: Path) -> None:
    liar.hold([file_line("first", 1), file_line("gone", 1)], {"first": b"x"})
    refuse_download(liar, tmp_path, RegistryUnavailableError, r"error \(404\)")


@pytest.mark.parametrize("line", [{}, {"path": "x", "file_size": "many"}, 7, None])
def test_a_listing_that_makes_no_sense_leaves_nothing(liar: Liar, tmp_path: Path, line: Any) -> None:
    liar.hold([line], {})
    refuse_download(liar, tmp_path, RegistryUnavailableError, "not one that an MLflow server gives")


@pytest.mark.parametrize(
    "source", ["s3://bucket/model", "/var/lib/mlflow/1", "file:///etc", "mlflow-artifacts://elsewhere:5000/top"]
)
def test_files_that_the_server_does_not_hand_out_are_refused(liar: Liar, tmp_path: Path, source: str) -> None:
    liar.say("/api/2.0/mlflow/model-versions/get-download-uri", {"artifact_uri": source})
    refuse_download(liar, tmp_path, ArtifactError, "--artifacts-destination")


def test_a_version_registered_by_its_run_is_found_there(liar: Liar, tmp_path: Path) -> None:
    liar.hold([file_line("model.txt", 1)], {"model.txt": b"x"})
    liar.say("/api/2.0/mlflow/model-versions/get-download-uri", {"artifact_uri": "runs:/r1/top"})
    liar.say("/api/2.0/mlflow/runs/get", {"run": {"info": {"artifact_uri": "mlflow-artifacts:/"}}})
    open_reader(f"http://{liar.address}").download(SEVEN, tmp_path / "pod")

    assert read_files(tmp_path / "pod") == {"model.txt": b"x"}


def test_a_full_disk_is_named_and_leaves_nothing(liar: Liar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    liar.hold([file_line("model.txt", 1)], {"model.txt": b"x"})
    monkeypatch.setattr("model.registry.rest._Artifacts.fetch", no_space)
    refuse_download(liar, tmp_path, ArtifactError, "cannot be written to .*No space left")


# --- credentials -----------------------------------------------------------------------------------------------------


BASIC = "Basic YWRhOnMzY3IzdC13MHJk"


def by_url(address: str, _: pytest.MonkeyPatch) -> str:
    return f"http://ada:{SECRET}@{address}"


def by_password(address: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", SECRET)
    return f"http://{address}"


def by_token(address: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", SECRET)
    return f"http://{address}"


GIVEN = pytest.mark.parametrize(
    ("give", "sent"), [(by_url, BASIC), (by_password, BASIC), (by_token, f"Bearer {SECRET}")]
)


@GIVEN
def test_credentials_are_sent_and_never_shown(
    liar: Liar,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    give: Callable[[str, pytest.MonkeyPatch], str],
    sent: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    liar.say(ALIAS, b"", status=401)
    with pytest.raises(RegistryUnavailableError) as refused:
        open_reader(give(liar.address, monkeypatch)).resolve(MODEL_NAME, CHAMPION)

    assert liar.authorizations == [sent]
    assert SECRET not in shown(refused) + caplog.text


def test_a_server_that_is_down_is_named_without_its_password() -> None:
    with pytest.raises(RegistryUnavailableError, match=r"http://\*\*\*@127.0.0.1:1 cannot") as refused:
        open_reader(f"http://ada:p@ss{SECRET}@127.0.0.1:1").resolve(MODEL_NAME, CHAMPION)
    assert SECRET not in shown(refused)


def test_a_publisher_keeps_the_password_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    publisher = open_publisher(f"http://ada:{SECRET}@127.0.0.1:1")
    with pytest.raises(RegistryUnavailableError) as refused:
        publisher.versions(MODEL_NAME)
    assert SECRET not in shown(refused)
    assert "127.0.0.1:1" in shown(refused)
