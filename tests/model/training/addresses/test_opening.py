from pathlib import Path

import pytest

from model.training.addresses import AddressError, open_address


def test_a_path_is_a_place_on_this_machine(tmp_path: Path) -> None:
    place = open_address(tmp_path)
    assert place.is_local
    assert place.renames
    assert open_address(str(tmp_path)) == place


def test_opening_asks_nothing_of_a_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    place = open_address("s3a://bank/history/")
    assert (place.address, place.path, place.is_local, place.renames) == (
        "s3://bank/history",
        "bank/history",
        False,
        False,
    )
    place = open_address("hdfs://name-node:8020/bank")
    assert (place.address, place.path, place.is_local, place.renames) == (
        "hdfs://name-node:8020/bank",
        "/bank",
        False,
        True,
    )


@pytest.mark.parametrize(
    "endpoint", ["127.0.0.1:9000", "http://user:secret@host:9000", "ftp://host", "http://host/path"]
)
def test_an_endpoint_that_is_none_is_refused_without_repeating_it(
    endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    with pytest.raises(AddressError, match="AWS_ENDPOINT_URL must be http") as caught:
        open_address("s3://bank/history")
    assert endpoint not in str(caught.value)
