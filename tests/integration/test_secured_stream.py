"""Brokers with TLS and a login: the stream and the landing work over them, and say what is wrong where they cannot."""

from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple

import pytest

from loadtest.kill_ledger import balance, bodies
from loadtest.stream_topics import Topics, fill
from model.settings import Settings, load_settings
from model.training.landing import LandingError, land
from service.scorer import Loaded
from stack.servers import Kafka, Secured
from tests.integration.certificates import authority, broker_certificate
from tests.integration.landing_topics import landed
from tests.integration.started import started
from tests.integration.stream_members import clean, ended, streams, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.integration]

USER, PASSWORD, WRONG = "antifraud", "Zq7-never-told", "Wx9-not-that-one"
TOPICS = Topics()


class Bank(NamedTuple):
    """A broker with a secured port, the authority that signed its certificate, and one that did not."""

    kafka: Kafka
    authority: Path
    stranger: Path


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bank]:
    folder = tmp_path_factory.mktemp("secured")
    known, signer = authority("bank", folder)
    stranger, _ = authority("stranger", folder)
    secured = Secured(broker_certificate(folder, "bank", signer), USER, PASSWORD)
    with started(Kafka(folder / "kafka", secured=secured)) as kafka:
        TOPICS.make(kafka, partitions=2)
        yield Bank(kafka, known, stranger)


@pytest.fixture
def login(bank: Bank, tmp_path: Path) -> dict[str, Any]:
    """The settings of a client that may come in."""
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    return {
        "kafka_bootstrap": bank.kafka.secured_bootstrap,
        "kafka_security": "sasl_ssl",
        "kafka_user": USER,
        "kafka_password_file": str(tmp_path / "password"),
        "kafka_ca_file": str(bank.authority),
    }


def mistaken(bank: Bank, tmp_path: Path, mistake: str) -> dict[str, Any]:
    """Return settings that are wrong in one way."""
    if mistake == "authority":
        return {"kafka_ca_file": str(bank.stranger)}
    (tmp_path / "wrong").write_text(WRONG)
    return {"kafka_password_file": str(tmp_path / "wrong")}


MISTAKES = pytest.mark.parametrize(
    ("mistake", "words"),
    [
        ("password", ("refuse", "login", "FRAUD_KAFKA_USER", "FRAUD_KAFKA_PASSWORD_FILE")),
        ("authority", ("cannot be trusted", "FRAUD_KAFKA_CA_FILE")),
    ],
    ids=["password", "authority"],
)


def test_a_secured_stream_decides_and_its_decisions_land(  # noqa: PLR0917  fixtures
    bank: Bank,
    login: dict[str, Any],
    settings: Settings,
    loaded: Loaded,
    tmp_path: Path,
    payments: list[dict[str, Any]],
) -> None:
    assert loaded
    count = 300
    fill(bank.kafka.bootstrap, TOPICS.input, bodies(payments, count, poison_every=0))
    with streams(bank.kafka, TOPICS, settings, tmp_path) as make:
        stream = make("one", **login)
        stream.start()
        wait_for(bank.kafka, TOPICS, count)
        assert stream.end() == 0
    assert clean(balance(bank.kafka.bootstrap, TOPICS, count, poison_every=0), count)
    given = load_settings(**login, landing_port=0)
    tally = land("decisions", str(tmp_path / "landed"), settings=given, once=True, stop=Event(), say=print)
    assert tally.records == len(landed(tmp_path / "landed")) == count


@MISTAKES
def test_a_stream_that_may_not_in_says_why_and_ends(  # noqa: PLR0917  fixtures
    bank: Bank,
    login: dict[str, Any],
    settings: Settings,
    loaded: Loaded,
    tmp_path: Path,
    mistake: str,
    words: tuple[str, ...],
) -> None:
    assert loaded
    with streams(bank.kafka, TOPICS, settings, tmp_path) as make:
        stream = make("one", **(login | mistaken(bank, tmp_path, mistake)))
        stream.start()
        code, said = ended(stream)
    assert code == 1
    last = said.splitlines()[-1]
    assert last.startswith("antifraud: ")
    assert all(word in last for word in words)
    assert "Traceback" not in said
    assert PASSWORD not in said
    assert WRONG not in said


@MISTAKES
def test_a_landing_that_may_not_in_says_why(
    bank: Bank, login: dict[str, Any], tmp_path: Path, mistake: str, words: tuple[str, ...]
) -> None:
    given = load_settings(**(login | mistaken(bank, tmp_path, mistake)), landing_port=0, landing_patience="2m")
    said: list[str] = []
    with pytest.raises(LandingError) as error:
        land("decisions", str(tmp_path / "landed"), settings=given, once=True, stop=Event(), say=said.append)
    assert all(word in str(error.value) for word in words)
    assert not any(secret in text for text in (*said, str(error.value)) for secret in (PASSWORD, WRONG))
