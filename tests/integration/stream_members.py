"""Members of a consumer group as processes, and what is committed in the end."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from loadtest.kill_ledger import Ledger
from loadtest.stream_topics import Topics, Watch, wait_until
from loadtest.streams import StreamProcess
from model.settings import Settings
from stack.servers import Kafka
from tests.conftest import ID_KEY

PATIENCE = 120.0
Start = Callable[..., StreamProcess]


@contextmanager
def streams(kafka: Kafka, topics: Topics, settings: Settings, folder: Path) -> Iterator[Start]:
    """Give a function that makes members of a group; whatever is left of them in the end is killed."""
    with ExitStack() as stack:

        def make(member: str, **given: str) -> StreamProcess:
            variables = {
                "FRAUD_ID_KEY": ID_KEY,
                "FRAUD_WORK_FOLDER": str(settings.work_folder),
                "FRAUD_KAFKA_BOOTSTRAP": kafka.bootstrap,
                "FRAUD_STREAM_MEMBER": member,
                "FRAUD_STREAM_SESSION_SECONDS": "6",
                "FRAUD_STREAM_BATCH": "50",
                **topics.variables(),
                **{f"FRAUD_{name.upper()}": value for name, value in given.items()},
            }
            stream = StreamProcess(variables, log=folder / f"{member}.log")
            stack.callback(_tell, member, stream)
            stack.callback(stream.kill)
            return stream

        yield make


def _tell(member: str, stream: StreamProcess) -> None:
    """Show how it ended; the test run prints that of tests that fail."""
    sys.stdout.write(f"the last words of {member}:\n{stream.last_words()}\n")


def _is_beyond(watch: Watch, count: int) -> bool:
    return watch.committed() > count


def wait_for(kafka: Kafka, topics: Topics, count: int) -> None:
    """Wait until so many messages are committed, as long as ever more are."""
    with Watch(kafka.bootstrap, topics) as watch:
        committed = 0
        while committed < count:
            wait_until(
                partial(_is_beyond, watch, committed),
                seconds=PATIENCE,
                what=f"more than {committed} of {count} messages are committed",
            )
            committed = watch.committed()


def clean(ledger: Ledger, count: int) -> bool:
    return ledger.is_clean and ledger.messages == ledger.decisions + ledger.dead_letters == count


def said_of(stream: StreamProcess) -> str:
    return stream.log.read_text(encoding="utf-8")


def ended(stream: StreamProcess) -> tuple[int, str]:
    assert stream.process is not None
    return stream.process.wait(PATIENCE), said_of(stream)
