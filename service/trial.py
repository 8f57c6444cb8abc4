"""The trial of a pair before the service takes it: downloaded, verified and made to answer, in a process of its own.

LightGBM does not survive every damaged model, and damaged statistics may ask for any amount of memory. What happens
here ends at most this process: `python -m service.trial`, one line of JSON in, one out.
"""

import json
import math
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from model.bundle import Bundle, BundleError, read_bundle, read_snapshot
from model.registry import RegistryError, Version, open_reader
from model.score import probability
from model.statistics import EntityStatistics, hour_text
from model.transaction import IdHasher
from service import child
from service.cache import Cache, Pair
from service.schemas import Transaction
from service.scorer import Loaded, Scorer
from service.tables import Digests, map_statistics, write_profiles

ADDS_UP = 1e-9  # log-odds between the sum of an answer's contributions and its score
_AMOUNTS = (0.0, 12.5, 4_200.0)
_PAYMENT = {"transaction_id": 1, "customer_id": 1, "terminal_id": 1}  # whose is it is given by keys, not by ids


@dataclass(frozen=True, slots=True)
class TrialRequest:
    """What to try.

    Attributes
    ----------
    cache
        Folder that versions are downloaded to.
    tracking_uri
        Registry to download from; None: only what is in the cache.
    """

    pair: Pair
    cache: Path
    tracking_uri: str | None
    id_key_fingerprint: str

    def as_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "model": _version_as_json(self.pair.model),
            "statistics": _version_as_json(self.pair.statistics),
            "cache": str(self.cache),
            "tracking_uri": self.tracking_uri,
            "id_key_fingerprint": self.id_key_fingerprint,
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "TrialRequest":
        """Return what `as_json` was made of."""
        pair = Pair(Version(**found["model"]), Version(**found["statistics"]))
        return cls(pair, Path(found["cache"]), found["tracking_uri"], found["id_key_fingerprint"])


def _version_as_json(version: Version) -> dict[str, Any]:
    return {name: getattr(version, name) for name in ("name", "version", "source", "run_id")} | {
        "tags": dict(version.tags)
    }


Attempt = Callable[[TrialRequest], Digests]


def try_here(request: TrialRequest) -> dict[str, str]:
    """Try a pair in this process and return the SHA-256 of the profiles made of its statistics.

    Raises
    ------
    RegistryError
        If something cannot be downloaded.
    ValueError, OSError and whatever else damage sets off
        If the pair must not be used.
    """
    cache, pair, fingerprint = Cache(request.cache), request.pair, request.id_key_fingerprint
    reader = None if request.tracking_uri is None else open_reader(request.tracking_uri)
    bundle = cache.fetch(
        pair.model,
        cache.model_folder(pair.model),
        reader=reader,
        read=partial(read_bundle, id_key_fingerprint=fingerprint),
    )
    folder, profiles = cache.statistics_folder(pair.statistics), cache.profiles_folder(pair.statistics)
    snapshot = cache.fetch(
        pair.statistics, folder, reader=reader, read=partial(read_snapshot, id_key_fingerprint=fingerprint)
    )
    digests = write_profiles(profiles, snapshot)
    del snapshot  # from here on as the service sees it
    mapped, tables = map_statistics(
        folder,
        profiles,
        digests=digests,
        id_key_fingerprint=fingerprint,
        manifest_sha256=pair.keys[1][1],
    )
    answer_some(Loaded(bundle, mapped, pair.model.version, pair.statistics.version, tables))
    return digests


def answer_some(loaded: Loaded) -> int:
    """Answer payments of known and unknown customers and terminals and return how many; each must make sense.

    Raises
    ------
    BundleError
        If an answer does not.
    """
    scorer = Scorer(loaded, IdHasher(os.urandom(32)))
    moment = hour_text(loaded.snapshot.as_of_hour)
    count = 0
    for customer in _some(loaded.snapshot.customer):
        for terminal in _some(loaded.snapshot.terminal):
            for amount in _AMOUNTS:
                payment = Transaction.model_validate(_PAYMENT | {"tx_datetime": moment, "tx_amount": amount})
                answer, _ = scorer.answer(payment, full=True, keys=(customer, terminal))
                _require_sense(answer, loaded.bundle)
                count += 1
    return count


def _some(known: EntityStatistics) -> list[int]:
    """Return a few keys that are known, and most likely one that is not."""
    places = {0, len(known.keys) // 2, len(known.keys) - 1} if len(known.keys) else set()
    return [1, *(int(known.keys[place]) for place in sorted(places))]


def _require_sense(answer: dict[str, Any], bundle: Bundle) -> None:
    to_json(answer, inf_nan_mode="null")
    score, features = answer["score"], answer["features"]
    margin = answer["base_value"] + math.fsum(one["contribution"] for one in features.values())
    # A margin far from zero is not seen in a probability any more, so they are compared as probabilities.
    if not 0 <= score <= 1 or abs(probability(margin) - score) > ADDS_UP:
        raise BundleError("a trial answer has a score that its contributions do not add up to")


def try_in_child(request: TrialRequest, *, seconds: float, memory_mb: int) -> dict[str, str]:
    """Try a pair in a process of its own; see `try_here`.

    Raises
    ------
    RegistryError
        If something cannot be downloaded.
    BundleError
        If the pair must not be used, or the trial did not survive it.
    """
    process = child.start("service.trial", request.as_json() | {"memory_mb": memory_mb})
    try:
        reply = child.reply_of(process, seconds=seconds)
    except child.ChildError as error:
        raise BundleError(f"{request.pair}: the trial of it {error}") from None
    if "error" in reply:
        raise (RegistryError if reply.get("registry") else BundleError)(str(reply["error"]))
    return {str(name): str(digest) for name, digest in dict(reply["profiles"]).items()}


def main() -> int:
    """Serve one request from standard input."""
    output = child.take_output()
    found = json.loads(sys.stdin.buffer.readline())
    child.settle(memory_mb=found.pop("memory_mb"))
    child.end_with_parent()
    reply: dict[str, Any]
    try:
        reply = {"profiles": try_here(TrialRequest.from_json(found))}
    except RegistryError as error:
        reply = {"error": _line(error), "registry": True}
    except (ValueError, OSError) as error:
        reply = {"error": _line(error)}
    except Exception as error:
        # Of an unexpected error only the type: its text may hold anything.
        reply = {"error": f"the trial of it met an unexpected {type(error).__name__}"}
    os.write(output, json.dumps(reply).encode() + b"\n")
    return 0


def _line(error: Exception) -> str:
    return str(error).partition("\n")[0][:1000]


if __name__ == "__main__":
    # At once: the thread that watches the parent must not be waited for, and nothing is left to do.
    os._exit(main())
