from types import SimpleNamespace

import pytest

from model.address import AddressError
from model.training.addresses.faults import RefusedError, TransientError, is_transient, patiently

# As pyarrow words them.
BUSY = OSError("When listing objects in bucket 'b': AWS Error SLOW_DOWN during ListObjectsV2 operation: Reduce")
BROKEN = OSError("When reading x: AWS Error UNKNOWN (HTTP status 500) during HeadObject operation: No response body.")
CUT = OSError("AWS Error NETWORK_CONNECTION during GetObject operation: curlCode: 56, Failure when receiving data")
DENIED = OSError("When x: AWS Error ACCESS_DENIED during HeadObject operation: No response body. key=topsecret")
UNKNOWN_KEY = OSError("AWS Error UNKNOWN (HTTP status 404) during HeadObject operation: No response body.")


class Store:
    """Fails some times, then answers."""

    def __init__(self, *errors: OSError) -> None:
        self.errors, self.asked = list(errors), 0

    def __call__(self) -> str:
        self.asked += 1
        if self.errors:
            raise self.errors.pop(0)
        return "content"


@pytest.mark.parametrize("error", [BUSY, BROKEN, CUT, TransientError("short read"), TimeoutError(), ConnectionError()])
def test_a_fault_of_the_moment_is_asked_again(error: OSError) -> None:
    store = Store(error, error)
    assert patiently("s3://bank/x", store, patience=60) == "content"
    assert store.asked == 3


def test_patience_ends() -> None:
    store = Store(*[BUSY] * 100)
    with pytest.raises(
        AddressError, match=r"s3://bank/x: the store did not answer as it should.*SLOW_DOWN.*AWS_ENDPOINT"
    ):
        patiently("s3://bank/x", store, patience=0)
    assert store.asked == 1


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (DENIED, r"access was refused \(ACCESS_DENIED\); check AWS_ACCESS_KEY_ID"),
        (RefusedError("HTTP status 403"), "access was refused"),
        (UNKNOWN_KEY, "does not know the bucket or the access key"),
        (FileNotFoundError("x"), "no such file or folder"),
        (OSError("AWS Error NO_SUCH_BUCKET during x"), "there is no such bucket"),
        (OSError("something else altogether with a topsecret in it"), r"cannot be read or written \(OSError\)"),
    ],
)
def test_what_another_try_cannot_mend_is_said_at_once(error: OSError, said: str) -> None:
    store = Store(error)
    with pytest.raises(AddressError, match=f"^s3://bank/x: .*{said}") as caught:
        patiently("s3://bank/x", store, patience=60)
    assert store.asked == 1
    assert not is_transient(error)
    assert "topsecret" not in str(caught.value)


def test_for_hdfs_other_things_are_to_be_checked() -> None:
    with pytest.raises(AddressError, match="check FRAUD_WEBHDFS"):
        patiently("hdfs://nn:8020/x", Store(TransientError("ConnectionError")), patience=0)


def test_a_store_that_is_away_for_long_is_spoken_of_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(
        "model.training.addresses.faults.time",
        SimpleNamespace(monotonic=lambda: clock[0], sleep=lambda seconds: clock.__setitem__(0, clock[0] + seconds)),
    )
    with pytest.raises(AddressError):
        patiently("s3://bank/x", Store(*[BUSY] * 1000), patience=60)
    assert caplog.messages == ["s3://bank/x: no answer yet (SLOW_DOWN); asking again for up to 60 s"]
