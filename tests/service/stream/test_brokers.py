"""How the client of the brokers is set, and what its errors say to whoever runs the stream."""

from pathlib import Path

import pytest
from confluent_kafka import KafkaError

from model.settings import Settings, SettingsError, load_settings
from service.stream.brokers import StreamError, advice, common, make_producer, transactional_id
from tests.conftest import ID_KEY

SECRET = "Zq7-never-told"  # noqa: S105  for these tests only


def given(**settings: object) -> Settings:
    return load_settings(id_key=ID_KEY, kafka_bootstrap="broker-1:9092,broker-2:9092", **settings)


def test_brokers_must_be_named() -> None:
    with pytest.raises(SettingsError, match="FRAUD_KAFKA_BOOTSTRAP: must be set"):
        common(load_settings(id_key=ID_KEY))


def test_a_login_goes_to_the_client(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(f" {SECRET}\n")
    login = given(
        kafka_security="sasl_ssl",
        kafka_user="antifraud",
        kafka_password_file=tmp_path / "password",
        kafka_ca_file=tmp_path / "ca.pem",
    )
    found = common(login)
    assert (found["security.protocol"], found["sasl.mechanism"]) == ("sasl_ssl", "SCRAM-SHA-512")
    assert (found["sasl.username"], found["sasl.password"]) == ("antifraud", SECRET)
    assert found["ssl.ca.location"] == str(tmp_path / "ca.pem")
    assert SECRET not in repr(login)


def test_without_a_login_no_user_is_sent() -> None:
    assert not {"sasl.username", "sasl.password"} & set(common(given(kafka_user="antifraud", kafka_password=SECRET)))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "FRAUD_KAFKA_USER: must be set"),
        ({"kafka_user": "u"}, "FRAUD_KAFKA_PASSWORD_FILE or FRAUD_KAFKA_PASSWORD must be set"),
        ({"kafka_user": "u", "kafka_password_file": Path("/nowhere")}, "FRAUD_KAFKA_PASSWORD_FILE: cannot be read"),
    ],
)
def test_half_a_login_is_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        common(given(kafka_security="sasl_plaintext", **settings))


def test_settings_that_the_library_refuses_are_one_line_without_a_secret(tmp_path: Path) -> None:
    broken = given(
        kafka_security="sasl_ssl", kafka_user="u", kafka_password=SECRET, kafka_ca_file=tmp_path / "missing.pem"
    )
    with pytest.raises(StreamError, match="FRAUD_KAFKA_") as error:
        make_producer(broken, on_error=print)
    assert SECRET not in str(error.value)


def test_each_member_has_transactions_of_its_own() -> None:
    names = {transactional_id(given(stream_member=name)) for name in ("pod-1", "pod-2", "")}
    assert len(names) == 3
    assert "antifraud-pod-1" in names


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (KafkaError._ALL_BROKERS_DOWN, ("broker-1:9092", "FRAUD_KAFKA_BOOTSTRAP", "FRAUD_KAFKA_SECURITY")),
        (KafkaError._AUTHENTICATION, ("refuses", "FRAUD_KAFKA_USER", "FRAUD_KAFKA_PASSWORD_FILE")),
        (KafkaError._SSL, ("certificate", "FRAUD_KAFKA_CA_FILE")),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, ("payments", "decisions", "FRAUD_STREAM_INPUT")),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, ("forbids", "antifraud-pod-1")),
    ],
)
def test_an_error_says_what_to_do(code: int, words: tuple[str, ...]) -> None:
    settings = given(kafka_password=SECRET, stream_member="pod-1")
    text = advice(KafkaError(code), settings)
    assert all(word in text for word in words)
    assert SECRET not in text
