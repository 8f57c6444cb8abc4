"""What Spark says when it fails, as one clear error."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import unquote

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException

from model.address import Location
from model.training.history import UnreadableFileError
from model.training.reading import HistoryFile
from model.training.spark.reading import url

_LONGEST = 200


class SparkRunError(RuntimeError):
    """Spark could not finish: a lost executor, no memory, an address that cannot be reached."""


@contextmanager
def named(history: Location, files: Sequence[HistoryFile]) -> Iterator[None]:
    """Name the file where reading fails half-way, and the history where something else does.

    Raises
    ------
    UnreadableFileError
        If a file cannot be read to its end.
    SparkRunError
        If anything else fails in Spark.
    """
    try:
        yield
    except (PySparkException, Py4JJavaError) as error:
        text = unquote(str(error))
        file = next((one for one in files if f"{url(one.path)}." in text or f"{url(one.path)}\n" in text), None)
        if file is not None and "FAILED_READ_FILE" in text:
            reason = f"history {file.path}: not a readable {file.format} file ({_cause(text)})"
            raise UnreadableFileError(file.path, reason) from None
        raise SparkRunError(f"history {history}: Spark failed ({_cause(text)})") from None


def _cause(text: str) -> str:
    """Return the innermost reason that a chain of Java errors gives."""
    causes = [line.removeprefix("Caused by: ") for line in text.splitlines() if line.startswith("Caused by: ")]
    return (causes or text.splitlines() or ["no reason given"])[-1 if causes else 0].strip()[:_LONGEST]
