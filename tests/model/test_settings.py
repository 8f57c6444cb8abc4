import inspect
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.settings import Settings, SettingsError, load_settings, parse_duration
from model.transaction import IdHasher

KEY = "Zq7-never-told-Zq7-never-told"


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.upper().startswith("FRAUD_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def mistakes(monkeypatch: pytest.MonkeyPatch, **variables: str) -> list[str]:
    """Return what loading complains about, one line a mistake."""
    for name, value in variables.items():
        monkeypatch.setenv(f"FRAUD_{name}", value)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    return str(refused.value).splitlines()


def test_without_any_variable_the_defaults_hold() -> None:
    found = load_settings()
    assert (found.host, found.port, found.label_delay) == ("127.0.0.1", 8000, timedelta(days=1))
    assert (found.flagged_budget, found.declined_budget) == (0.05, 0.01)
    assert found.id_key is None


def test_every_setting_says_what_it_is_for() -> None:
    assert all(field.description for field in Settings.model_fields.values())


def test_what_is_given_stands_above_the_environment_and_that_above_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("FRAUD_PORT=1\nFRAUD_TREES=1\nFRAUD_SEED=1\n")
    monkeypatch.setenv("FRAUD_PORT", "2")
    monkeypatch.setenv("fraud_trees", "2")
    found = load_settings(port=3, trees=None)
    assert (found.port, found.trees, found.seed) == (3, 2, 1)


def test_an_unknown_variable_is_named_with_the_one_that_was_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    assert mistakes(monkeypatch, TREE=KEY) == ["FRAUD_TREE: there is no such setting; did you mean FRAUD_TREES?"]


def test_a_variable_that_resembles_none_is_just_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert mistakes(monkeypatch, QQQQQQQQQQQQQQQQ="1") == ["FRAUD_QQQQQQQQQQQQQQQQ: there is no such setting"]


def test_variables_of_other_programs_are_not_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("MLFLOW_TRACKING_TOKEN=x\nPORT=1\nANTIFRAUD_PORT=1\n")
    monkeypatch.setenv("FRAUDULENT", "1")
    assert load_settings().port == 8000


def test_an_unknown_line_of_the_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("FRAUD_PROT=1\nPROT=1\n")
    assert mistakes(monkeypatch) == ["FRAUD_PROT: there is no such setting; did you mean FRAUD_PORT?"]


def test_all_mistakes_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = mistakes(monkeypatch, TREE="1", PORT="x", LEAVES="1", MEMORY_LIMIT="lots")
    assert [line.partition(":")[0] for line in found] == [
        "FRAUD_TREE",
        "FRAUD_PORT",
        "FRAUD_LEAVES",
        "FRAUD_MEMORY_LIMIT",
    ]


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("PORT", "65536", "less than or equal to 65535"),
        ("PORT", "http", "valid integer"),
        ("MAX_BODY_BYTES", "0", "greater than or equal to 1024"),
        ("LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
        ("FLAGGED_BUDGET", "5%", "valid number"),
        ("FLAGGED_BUDGET", "nan", "less than 1"),
        ("FLAGGED_BUDGET", "1", "less than 1"),
        ("DECLINED_BUDGET", "0.06", "must not be above flagged_budget"),
        ("LEARNING_RATE", "inf", "less than or equal to 1"),
        ("TREES", "1.5", "valid integer"),
        ("SEED", "-1", "greater than or equal to 0"),
        ("MEMORY_LIMIT", "4 GB", "match pattern"),
        ("MEMORY_LIMIT", "0GB", "match pattern"),
        ("LABEL_DELAY", "1", "whole number of at most 8 digits followed by s, m, h or d"),
        ("LABEL_DELAY", "999999999d", "whole number of at most 8 digits followed by s, m, h or d"),
        ("STATISTICS_AGE", "90m", "whole hours, at least 1h"),
        ("STATISTICS_AGE", "0h", "whole hours, at least 1h"),
    ],
)
def test_a_bad_value_is_refused_by_name_and_rule(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, rule: str
) -> None:
    (line,) = mistakes(monkeypatch, **{name: value})
    assert line.startswith(f"FRAUD_{name}: ")
    assert rule in line


def test_no_message_repeats_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = {name.upper(): KEY for name in Settings.model_fields if name not in {"host", "work_folder", "reports"}}
    found = mistakes(monkeypatch, **numbers, **{KEY[:3] + "X": KEY})
    assert len(found) >= 40  # the others take any text
    assert KEY not in "\n".join(found)


def test_a_registry_of_no_known_kind_is_a_wrong_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    for address in ("http://mlflow:5000", "https://mlflow", "sqlite:////var/lib/mlflow.db", ""):
        assert load_settings(tracking_uri=address).tracking_uri == address
    found = mistakes(monkeypatch, TRACKING_URI=f"ftp://{KEY}@mlflow")
    assert found == ["FRAUD_TRACKING_URI: must begin with http://, https:// or sqlite:////"]


@pytest.mark.parametrize("security", ["plaintext", "sasl_plaintext"])
def test_certificates_that_nobody_would_look_at_are_refused(monkeypatch: pytest.MonkeyPatch, security: str) -> None:
    found = mistakes(monkeypatch, KAFKA_SECURITY=security, KAFKA_CA_FILE="ca.pem")
    assert found == ["FRAUD_KAFKA_SECURITY: must be ssl or sasl_ssl where certificates are set"]
    monkeypatch.setenv("FRAUD_KAFKA_SECURITY", security.replace("plaintext", "ssl"))
    assert load_settings().kafka_ca_file == Path("ca.pem")


@given(st.integers(0, 10**5), st.sampled_from("smhd"))
def test_a_duration_is_a_number_and_a_unit(count: int, unit: str) -> None:
    assert parse_duration(f"{count}{unit}") == count * timedelta(seconds={"s": 1, "m": 60, "h": 3600, "d": 86400}[unit])


@given(st.text() | st.integers() | st.none() | st.floats() | st.from_regex(r"\d+[smhd]", fullmatch=True))
def test_anything_else_is_no_duration(value: object) -> None:
    said = ""
    try:
        assert isinstance(parse_duration(value), timedelta)
    except ValueError as error:
        said = str(error)
    assert said in ("", "must be a whole number of at most 8 digits followed by s, m, h or d, such as 1d")


# --- the id key -------------------------------------------------------------------------------------------------------


def test_the_key_is_the_same_from_a_file_and_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "id.key"
    for key in (KEY.encode(), "schlüssel aus wörtern".encode(), b"\xff\xfe bytes that are no text"):
        file.write_bytes(b" " + key + b"\r\n")
        from_file = load_settings(id_key_file=file).id_hasher()
        monkeypatch.setenv("FRAUD_ID_KEY", os.fsdecode(key + b"\n"))
        from_environment = load_settings().id_hasher()
        monkeypatch.delenv("FRAUD_ID_KEY")
        assert from_file.fingerprint == from_environment.fingerprint == IdHasher(key).fingerprint


def test_the_key_is_never_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAUD_ID_KEY", KEY)
    settings = load_settings()
    assert KEY not in f"{settings} {settings!r} {settings.model_dump()} {settings.model_dump_json()}"


def test_two_keys_are_one_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    found = mistakes(monkeypatch, ID_KEY=KEY, ID_KEY_FILE="id.key")
    assert found == ["FRAUD_ID_KEY: set FRAUD_ID_KEY or FRAUD_ID_KEY_FILE, not both"]


@pytest.mark.parametrize("key", ["", "Zq7", KEY * 3])
def test_a_key_of_another_length_is_refused_and_not_told(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("FRAUD_ID_KEY", key)
    with pytest.raises(SettingsError, match=f"FRAUD_ID_KEY: the key must have 16 to 64 bytes, it has {len(key)}$"):
        load_settings().id_hasher()


@pytest.mark.parametrize(("make", "reason"), [("nothing", "No such file"), ("folder", "Is a directory")])
def test_a_key_file_that_cannot_be_read_says_why(tmp_path: Path, make: str, reason: str) -> None:
    path = tmp_path / "id.key"
    if make == "folder":
        path.mkdir()
    with pytest.raises(SettingsError, match=rf"FRAUD_ID_KEY_FILE: cannot be read \({reason}"):
        load_settings(id_key_file=path).id_hasher()


def test_no_key_at_all_says_what_to_set() -> None:
    with pytest.raises(
        SettingsError, match="FRAUD_ID_KEY_FILE or FRAUD_ID_KEY must be set: a secret of 16 to 64 bytes"
    ):
        load_settings().id_hasher()


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().port = 1


def test_a_misspelled_argument_is_refused_too() -> None:
    wrong: dict[str, Any] = {"prot": 1}
    with pytest.raises(SettingsError, match="FRAUD_PROT: there is no such setting; did you mean FRAUD_PORT"):
        load_settings(**wrong)


def test_every_rule_stands_beside_its_setting() -> None:
    source = inspect.getsource(Settings)
    assert all(f"\n    {name}: " in source for name in Settings.model_fields)


def test_the_setting_of_reports_takes_an_address_and_refuses_a_secret_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAUD_REPORTS", "s3a://bank/reports/")
    assert load_settings().reports == "s3://bank/reports"
    monkeypatch.setenv("FRAUD_REPORTS", "var/reports")
    assert load_settings().reports == Path("var/reports")
    monkeypatch.setenv("FRAUD_REPORTS", "s3://key:secret@bank/reports")
    with pytest.raises(SettingsError, match="FRAUD_REPORTS: an address with s3:// must hold no user") as caught:
        load_settings()
    assert "secret" not in str(caught.value)
