"""An embedded registry a module, copied from one that was made once, and versions that need no files."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from model.registry import Publisher, embedded_uri, open_publisher

Register = Callable[..., list[str]]


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("pristine")
    open_publisher(embedded_uri(home))
    return home / "mlflow.db"


def copied(pristine: Path, home: Path) -> str:
    shutil.copyfile(pristine, home / "mlflow.db")
    return embedded_uri(home)


@pytest.fixture(scope="module")
def uri(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return copied(pristine, tmp_path_factory.mktemp("registry"))


@pytest.fixture(scope="module")
def publisher(uri: str) -> Publisher:
    return open_publisher(uri)


@pytest.fixture
def fresh(pristine: Path, tmp_path: Path) -> Iterator[Publisher]:
    """A registry of one test's own, for names that are fixed."""
    (tmp_path / "registry").mkdir()
    yield open_publisher(copied(pristine, tmp_path / "registry"))
    shutil.rmtree(tmp_path / "registry")


@pytest.fixture
def name() -> str:
    """A model that no other test knows."""
    return f"model-{uuid4().hex[:8]}"


def register(publisher: Publisher, name: str, count: int = 1, **tags: str) -> list[str]:
    """Register versions without files, and return their numbers."""
    client = publisher._client
    publisher._ensure_model(name)
    # A server wants to know the run whose files they are.
    with publisher.run("registered", "no files", {}) as run:
        source = f"{client.get_run(run.run_id).info.artifact_uri}/nowhere"
        made = [
            client.create_model_version(name, source, run_id=run.run_id, tags=tags, await_creation_for=None)
            for _ in range(count)
        ]
    return [str(one.version) for one in made]


def put(publisher: Publisher, name: str, alias: str, *versions: str) -> None:
    """Let an alias name each of the versions, one after the other."""
    for version in versions:
        publisher.move_alias(name, alias, version, who="test", why="in order")
