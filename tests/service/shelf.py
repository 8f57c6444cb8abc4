"""A registry of a few versions over HTTP, which tells the truth, or does not, as a test wants it."""

import json
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import lightgbm as lgb
import numpy as np

from model.bundle import explainer_of, golden_cases, read_snapshot, write_bundle, write_snapshot
from model.decision import CutOffs
from model.manifest import read_json
from model.registry import CHAMPION, CURRENT, MODEL_NAME, STATISTICS_NAME
from model.settings import Settings, load_settings
from model.statistics import EntityStatistics, Snapshot
from model.transaction import Transactions
from service.cache import Cache, Pair, key_of
from service.scorer import Loaded
from tests.conftest import ID_KEY

_API = "/api/2.0/mlflow/"
_FILES = "/api/2.0/mlflow-artifacts/artifacts"


@dataclass
class Shelf:
    """Versions in folders, aliases on them, and how the registry behaves: `honest`, `garbage`, `hanging`, `error`."""

    folder: Path
    fingerprint: str
    model: Path
    statistics: Path
    uri: str = ""
    manner: str = "honest"
    aliases: dict[tuple[str, str], str] = field(default_factory=dict)
    digests: dict[tuple[str, str], str] = field(default_factory=dict)
    downloads: list[str] = field(default_factory=list)
    asked: int = 0  # requests, however they were answered

    def add_model(self, *, trees: int = 60) -> str:
        """Publish the first trees of the small bank's model as a model of its own, and return its number."""
        text = str(lgb.Booster(model_str=(self.model / "model.txt").read_text()).model_to_string(num_iteration=trees))
        cases = read_json(self.model / "golden.json")
        cutoffs = CutOffs(**read_json(self.model / "bundle.json")["cutoffs"])
        moments = Transactions(
            np.array([case["tx_seconds"] for case in cases], dtype=np.int64),
            np.array([case["tx_amount"] for case in cases], dtype=np.float64),
        )
        sums = np.array([case["sums"] for case in cases], dtype=np.float64)
        golden = golden_cases(moments, sums, explainer=explainer_of(text), cutoffs=cutoffs)
        number, folder = self._next(MODEL_NAME)
        self.digests[MODEL_NAME, number] = write_bundle(
            folder,
            booster_text=text,
            cutoffs=cutoffs,
            golden=golden,
            id_key_fingerprint=self.fingerprint,
            facts={"periods": {"train": ["2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"]}},
        )
        return number

    def add_statistics(self, *, later_by: int = 0) -> str:
        """Publish statistics of some hours later, with as many payments more for everybody, and return their number."""
        first = read_snapshot(self.statistics, id_key_fingerprint=self.fingerprint)
        entities = [EntityStatistics(one.keys, one.sums + later_by) for one in (first.customer, first.terminal)]
        number, folder = self._next(STATISTICS_NAME)
        self.digests[STATISTICS_NAME, number] = write_snapshot(
            folder, Snapshot(first.as_of_hour + later_by, *entities), id_key_fingerprint=self.fingerprint, facts={}
        )
        return number

    def point(self, *, champion: str, current: str) -> None:
        """Let the registry name this pair."""
        self.aliases |= {(MODEL_NAME, CHAMPION): champion, (STATISTICS_NAME, CURRENT): current}

    def folder_of(self, name: str, number: str) -> Path:
        return self.folder / name / number

    def _next(self, name: str) -> tuple[str, Path]:
        number = str(1 + sum(1 for known, _ in self.digests if known == name))
        return number, self.folder_of(name, number)

    def answer(self, path: str, query: dict[str, list[str]]) -> Any:
        """Return what a truthful registry answers: JSON, the bytes of a file, or None for what is not there."""
        if path == f"{_API}registered-models/alias":
            name, alias = query["name"][0], query["alias"][0]
            number = self.aliases.get((name, alias))
            return None if number is None else {"model_version": self._version(name, number)}
        if path == f"{_API}model-versions/get-download-uri":
            return {"artifact_uri": f"mlflow-artifacts:/{query['name'][0]}/{query['version'][0]}"}
        if path == _FILES:
            files = sorted((self.folder / query["path"][0]).iterdir())
            return {"files": [{"path": one.name, "is_dir": False, "file_size": one.stat().st_size} for one in files]}
        self.downloads.append(path.removeprefix(f"{_FILES}/"))
        return (self.folder / path.removeprefix(f"{_FILES}/")).read_bytes()

    def _version(self, name: str, number: str) -> dict[str, Any]:
        tags = [{"key": "manifest_sha256", "value": self.digests.get((name, number), "0" * 64)}]
        return {"name": name, "version": number, "source": "", "tags": tags}


def make_shelf(folder: Path, settings: Settings, loaded: Loaded) -> Shelf:
    """Return a registry that has the small bank's pair as its first versions, copied."""
    cache = Cache(settings.work_folder / "cache")
    pair = cache.last_verified()
    assert pair is not None
    assert (pair.model.version, pair.statistics.version) == (loaded.model_version, loaded.statistics_version)
    fingerprint = settings.id_hasher().fingerprint
    shelf = Shelf(folder, fingerprint, cache.model_folder(pair.model), cache.statistics_folder(pair.statistics))
    for name, source, version in zip(
        (MODEL_NAME, STATISTICS_NAME), (shelf.model, shelf.statistics), (pair.model, pair.statistics), strict=True
    ):
        shutil.copytree(source, shelf.folder_of(name, "1"))
        shelf.digests[name, "1"] = key_of(version)[1]
    shelf.point(champion="1", current="1")
    return shelf


@contextmanager
def serving(shelf: Shelf) -> Iterator[Shelf]:
    """Answer for a registry while the block runs."""
    released = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            shelf.asked += 1
            if shelf.manner == "hanging":
                released.wait(60)
            parts = urlsplit(self.path)
            status, body = 200, b'{"model_version": [[[['
            if shelf.manner == "honest":
                found = shelf.answer(unquote(parts.path), parse_qs(parts.query))
                status = 404 if found is None else 200
                found = {"error_code": "RESOURCE_DOES_NOT_EXIST"} if found is None else found
                body = found if isinstance(found, bytes) else json.dumps(found).encode()
            elif shelf.manner == "error":
                status = 500
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Keep the terminal clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        shelf.uri = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield shelf
        finally:
            released.set()
            server.shutdown()
            thread.join()


def pod_on(shelf: Shelf, folder: Path, **changed: Any) -> Settings:
    """Return the settings of a pod with a disk of its own that reads this registry."""
    return load_settings(id_key=ID_KEY, tracking_uri=shelf.uri, work_folder=folder, **changed)


def wait_until(condition: Any, *, seconds: float = 120) -> None:
    """Wait until something is so; for ever is not."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


__all__ = ["Pair", "Shelf", "make_shelf", "pod_on", "serving", "wait_until"]
