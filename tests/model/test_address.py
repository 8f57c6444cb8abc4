from pathlib import Path

import pytest

from model.address import AddressError, RemoteAddress, is_remote, location, parse_address


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("history", Path("history")),
        ("/a/b c.parquet", Path("/a/b c.parquet")),
        ("file:///a/b", Path("/a/b")),
        ("C:dir", Path("C:dir")),
        ("s3://bank", RemoteAddress("s3", "bank", "")),
        ("s3://bank/a/b/", RemoteAddress("s3", "bank", "a/b")),
        ("s3a://bank/date=2026-01-01", RemoteAddress("s3", "bank", "date=2026-01-01")),
        ("S3://bank/a@b", RemoteAddress("s3", "bank", "a@b")),
        ("hdfs://name-node:8020/bank", RemoteAddress("hdfs", "name-node:8020", "bank")),
        ("hdfs://nn/", RemoteAddress("hdfs", "nn", "")),
    ],
)
def test_an_address_is_a_path_or_one_in_a_store(text: str, meant: Path | RemoteAddress) -> None:
    assert parse_address(text) == meant


@pytest.mark.parametrize(
    "text",
    [
        "s3://AKIASECRET:topsecret@bank/x",
        "s3://AKIASECRET:topse/cret@bank/x",
        "s3://topsecret@bank/x",
        "s3://bank/x?secret_key=topsecret",
        "hdfs://hdfs:topsecret@nn:8020/x",
        "hdfs://hdfs:topsecret/x@nn:8020/x",
    ],
)
def test_an_address_with_a_secret_is_refused_and_the_secret_is_not_repeated(text: str) -> None:
    with pytest.raises(AddressError) as caught:
        parse_address(text)
    assert "secret" not in str(caught.value).lower()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "must be a path"),
        ("http://x/y", "http:// is not known"),
        ("s3://", "no name"),
        ("s3:///x", "no name"),
        ("hdfs:///x", "no name"),
        ("hdfs://nn:port/x", "no name"),
        ("s3://bank//x", "not empty"),
        ("s3://bank/a/../b", "not empty"),
        ("s3://bank/a\nb", "printable"),
        ("file://host/x", "file:///absolute/path"),
    ],
)
def test_what_is_no_address_is_refused_with_the_rule(text: str, why: str) -> None:
    with pytest.raises(AddressError, match=why):
        parse_address(text)


def test_settings_and_options_keep_paths_as_paths_and_addresses_as_text() -> None:
    assert location("a/b") == Path("a/b")
    assert location("s3a://bank/a/") == "s3://bank/a"
    assert location(None) is None
    assert is_remote("s3://bank/a")
    assert not is_remote(Path("a"))
