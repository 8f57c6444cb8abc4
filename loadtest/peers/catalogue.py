"""Who is measured, and how each is started and asked. What a peer needs lies in a folder of its own."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "loadtest" / "peers"
ENVIRONMENTS = ROOT / "var" / "peers"

SERVICE = "service"
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Place:
    """Where one run of a server happens: its work folder and its free ports on 127.0.0.1."""

    folder: Path
    bank: Path
    ports: tuple[int, int, int]


Command = Callable[[Place], list[str]]
Variables = Callable[[Place], dict[str, str]]


def _no_commands(_: Place) -> list[list[str]]:
    return []


def _no_variables(_: Place) -> dict[str, str]:
    return {}


@dataclass(frozen=True, slots=True)
class Peer:
    """One server of the comparison.

    Attributes
    ----------
    explains
        Whether each answer carries SHAP values.
    environment
        Folder with its locked requirements; None runs it in the project's own environment.
    body
        Name of the file of request bodies it takes, one JSON document a line.
    score
        Keys that lead to the score in an answer; empty for a constant.
    command
        What starts it; `prepare` is run before that.
    packages
        Those whose versions matter to a reader.
    """

    name: str
    title: str
    explains: bool
    environment: str | None
    body: str
    path: str
    score: tuple[str | int, ...]
    command: Command
    packages: tuple[str, ...]
    variables: Variables = _no_variables
    prepare: Callable[[Place], list[list[str]]] = field(default=_no_commands)

    @property
    def python(self) -> Path:
        """The interpreter of its environment, whether that exists or not."""
        return Path(sys.executable) if self.environment is None else ENVIRONMENTS / self.environment / "bin" / "python"

    @property
    def requirements(self) -> Path:
        """Its hash-locked requirements."""
        return SOURCES / (self.environment or "") / "requirements.txt"


def threads_off() -> dict[str, str]:
    """Return the variables that keep numeric libraries to one thread: more only get in each other's way on one core."""
    return dict.fromkeys(_THREADS, "1")


def _script(environment: str, name: str) -> str:
    return str(ENVIRONMENTS / environment / "bin" / name)


def _service(place: Place) -> list[str]:
    key = place.bank / "id.key"
    serve = [sys.executable, "-m", "antifraud", "serve", "--work-folder", str(place.bank), "--id-key-file", str(key)]
    return [*serve, "--host", "127.0.0.1", "--port", str(place.ports[0])]


def _server_file(environment: str, python: str) -> Command:
    return lambda _: [python, str(SOURCES / environment / "server.py")]


def _own_variables(place: Place) -> dict[str, str]:
    return {"PEER_PORT": str(place.ports[0]), "PEER_FOLDER": str(place.folder)}


def _mlserver_variables(place: Place) -> dict[str, str]:
    http, grpc, metrics = map(str, place.ports)
    return {
        "MLSERVER_HTTP_PORT": http,
        "MLSERVER_GRPC_PORT": grpc,
        "MLSERVER_METRICS_PORT": metrics,
        "MLSERVER_MODEL_URI": str(place.folder / "model.txt"),
    }


def _mlflow_model(place: Place) -> list[list[str]]:
    source, target = place.folder / "model.txt", place.folder / "mlflow-model"
    return [[_script("mlflow", "python"), str(SOURCES / "mlflow" / "prepare.py"), str(source), str(target)]]


def _mlflow(place: Place) -> list[str]:
    serve = [_script("mlflow", "mlflow"), "models", "serve", "-m", str(place.folder / "mlflow-model")]
    return [*serve, "--env-manager", "local", "-h", "127.0.0.1", "-p", str(place.ports[0]), "-w", "1"]


def _bentoml(place: Place) -> list[str]:
    serve = [_script("bentoml", "bentoml"), "serve", "service:Fraud", "--working-dir", str(SOURCES / "bentoml")]
    return [*serve, "--host", "127.0.0.1", "--port", str(place.ports[0]), "--quiet"]


def _bentoml_variables(place: Place) -> dict[str, str]:
    return {
        "PEER_FOLDER": str(place.folder),
        "BENTOML_HOME": str(place.folder / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
    }


def _constant(name: str, title: str, path: str) -> Peer:
    return Peer(
        name=name,
        title=title,
        explains=False,
        environment=None,
        body="payments",
        path=path,
        score=(),
        command=_server_file("constant", sys.executable),
        variables=_own_variables,
        packages=("fastapi", "pydantic", "uvicorn", "uvloop", "httptools"),
    )


def _bento(name: str, title: str, path: str, *, explains: bool) -> Peer:
    return Peer(
        name=name,
        title=title,
        explains=explains,
        environment="bentoml",
        body="bentoml",
        path=path,
        score=("scores", 0) if explains else (0,),
        command=_bentoml,
        variables=_bentoml_variables,
        packages=("bentoml", "lightgbm", "starlette", "uvicorn"),
    )


PEERS = (
    Peer(
        name=SERVICE,
        title="This service, with reasons",
        explains=True,
        environment=None,
        body="payments",
        path="/predict",
        score=("score",),
        command=_service,
        packages=("antifraud", "fastapi", "lightgbm", "numpy", "pydantic", "uvicorn"),
    ),
    _constant("constant", "FastAPI + pydantic, constant of the same size", "/predict"),
    _constant("constant-small", "FastAPI + pydantic, constant of two fields", "/small"),
    Peer(
        name="fastapi-shap",
        title="FastAPI + pandas + `shap.TreeExplainer`, as usually written",
        explains=True,
        environment="fastapi_shap",
        body="payments",
        path="/predict",
        score=("score",),
        command=_server_file("fastapi_shap", _script("fastapi_shap", "python")),
        variables=_own_variables,
        packages=("fastapi", "lightgbm", "pandas", "pydantic", "shap", "uvicorn"),
    ),
    Peer(
        name="mlserver",
        title="MLServer, no explanation",
        explains=False,
        environment="mlserver",
        body="mlserver",
        path="/v2/models/fraud/infer",
        score=("outputs", 0, "data", 0),
        command=lambda _: [_script("mlserver", "mlserver"), "start", str(SOURCES / "mlserver")],
        variables=_mlserver_variables,
        packages=("mlserver", "mlserver-lightgbm", "lightgbm", "fastapi", "uvicorn"),
    ),
    Peer(
        name="mlflow",
        title="`mlflow models serve`, no explanation",
        explains=False,
        environment="mlflow",
        body="mlflow",
        path="/invocations",
        score=("predictions", 0),
        command=_mlflow,
        prepare=_mlflow_model,
        variables=lambda _: {"MLFLOW_DISABLE_TELEMETRY": "true", "UVICORN_ACCESS_LOG": "false"},
        packages=("mlflow", "lightgbm", "fastapi", "uvicorn"),
    ),
    _bento("bentoml", "BentoML, no explanation", "/predict", explains=False),
    _bento("bentoml-contrib", "BentoML with `pred_contrib`", "/explain", explains=True),
)
