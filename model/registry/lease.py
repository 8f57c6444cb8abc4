"""A lock for all machines that share a registry.

MLflow cannot change a thing only if it is unchanged. But of two that create a registered model of the same name, one
fails. So a lock is a row of generations, `<name>.lock.1`, `.2`, ...: whoever creates the generation after the highest
one, once that is free or has run out, holds the lock. The highest generation is never deleted, only marked free, so no
number is won twice; lower ones are swept away by the next holder.
"""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import uuid4

from model.registry.contract import LockedError, LockLostError, RegistryError, RegistryUnavailableError
from model.registry.embedded import error_code, translated
from model.registry.history import plain

if TYPE_CHECKING:
    from mlflow import MlflowClient

INFIX = ".lock."
_NAME = re.compile(r"[A-Za-z0-9._-]{1,200}")  # it goes into a query
_TAG = "lock"
_SKEW = 0.25  # share of a lease by which clocks may differ without two holders at once
_RENEWALS = 3  # in the time of one lease
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0
_ATTEMPTS = 50
_ABOUT = "Lock of the antifraud tools; its tag says whether it is held. Keep it: the next holder replaces it."


@dataclass(frozen=True, slots=True)
class _State:
    """What one generation's tag says; times in seconds since 1970, `expires` 0 once the lock is free."""

    token: str
    owner: str
    since: float
    seconds: float
    expires: float

    @property
    def taken_until(self) -> float:
        """The time from which another machine may take the lock, its clock being as wrong as allowed."""
        return self.expires + _SKEW * self.seconds if self.expires else 0.0


class Lease:
    """A held lock, renewed in the background until it is released.

    A lease that ran out, because this machine stood still or could not reach the registry, is taken again as the next
    generation. That fails if anybody else held the lock meanwhile, even if it is free by now.
    """

    def __init__(self, row: "_Row", generation: int, state: _State) -> None:
        self.name = row.name
        self._row = row
        self._generation = generation
        self._state = state
        self._lost = False
        self._turn = threading.Lock()
        self._over = threading.Event()
        self._renewer = threading.Thread(target=self._renew_until_over, name=f"lease of {row.name}", daemon=True)
        self._renewer.start()

    def check(self) -> None:
        """Return while the lock is held and was held by nobody else; to be called before each step that relies on it.

        Raises
        ------
        LockLostError
            Another took the lock after it had run out, or the registry cannot be asked whether one did.
        """
        with self._turn:
            try:
                self._lost = self._lost or not (time.time() < self._state.expires or self._taken_again())
            except RegistryUnavailableError as error:
                raise LockLostError(f"the lock '{self.name}' ran out and cannot be renewed: {error}") from None
        if self._lost:
            raise LockLostError(f"the lock '{self.name}' ran out, and another took it: nothing more was done")

    def release(self) -> None:
        """Free the lock; one that cannot be freed frees itself when it runs out."""
        self._over.set()
        self._renewer.join()
        with suppress(RegistryError):
            self._row.write(self._generation, replace(self._state, expires=0.0))

    def _renew_until_over(self) -> None:
        while not self._over.wait(self._state.seconds / _RENEWALS):
            # What cannot be reached now may be reached the next time.
            with self._turn, suppress(RegistryUnavailableError):
                self._lost = self._lost or not self._renewed()

    def _renewed(self) -> bool:
        now = time.time()
        if now >= self._state.expires:
            return self._taken_again()
        renewed = replace(self._state, expires=now + self._state.seconds)
        try:
            self._row.write(self._generation, renewed)
        except RegistryUnavailableError:
            raise
        except RegistryError:
            return False  # the generation was swept away by a later holder
        if time.time() >= self._state.expires:
            # What arrived after the end may have crossed a taker who had read the old end.
            return self._taken_again()
        self._state = renewed
        return self._row.highest()[0] == self._generation

    def _taken_again(self) -> bool:
        now = time.time()
        state = replace(self._state, token=uuid4().hex, expires=now + self._state.seconds)
        if self._row.highest()[0] != self._generation or not self._row.won(self._generation + 1, state):
            return False
        self._generation, self._state = self._generation + 1, state
        return True


@contextmanager
def held(client: "MlflowClient", uri: str, name: str, owner: str, *, seconds: float, wait: float) -> Iterator[Lease]:
    """Hold a lock while the block runs.

    Parameters
    ----------
    seconds
        How long the lock outlives a holder that died, plus a quarter for clocks that differ.
    wait
        How many seconds to wait for a lock that another holds.

    Raises
    ------
    LockedError
        Another holds it, and went on holding it for the time to wait.
    RegistryUnavailableError
        The registry cannot be reached.
    """
    if not _NAME.fullmatch(name):
        raise RegistryError(f"{name!r} cannot name a lock: use letters, digits, '.', '_' and '-'")
    row = _Row(client, uri, name)
    generation, state = _until(time.monotonic() + wait, lambda: row.take(plain(owner), seconds))
    lease = Lease(row, generation, state)
    try:
        yield lease
    finally:
        lease.release()


def _until(deadline: float, attempt: Callable[[], tuple[int, _State]]) -> tuple[int, _State]:
    pause = _FIRST_PAUSE_S
    while True:
        try:
            return attempt()
        except LockedError:
            left = deadline - time.monotonic()
            if left <= 0:
                raise
            time.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE_S)


class _Row:
    """The generations of one lock in the registry."""

    def __init__(self, client: "MlflowClient", uri: str, name: str) -> None:
        self.name = name
        self._client = client
        self._uri = uri
        self._prefix = f"{name}{INFIX}"

    def take(self, owner: str, seconds: float) -> tuple[int, _State]:
        """Create the next generation, if the highest is free or has run out."""
        for _ in range(_ATTEMPTS):
            highest, present = self.highest()
            now = time.time()
            if present is not None and now < present.taken_until:
                raise self._locked(present)
            state = _State(uuid4().hex, owner, now, seconds, now + seconds)
            if self.won(highest + 1, state):
                return highest + 1, state
        raise RegistryUnavailableError(f"the lock '{self.name}' changes hands faster than it can be taken")

    def highest(self) -> tuple[int, _State | None]:
        """Return the highest generation and what it says; 0 if there is none."""
        found = self._generations()
        highest = max(found, default=0)
        return highest, _parsed(found[highest]) if highest else None

    def write(self, generation: int, state: _State) -> None:
        """Change what a generation says."""
        with translated(self._uri):
            self._client.set_registered_model_tag(f"{self._prefix}{generation}", _TAG, json.dumps(asdict(state)))

    def won(self, generation: int, state: _State) -> bool:
        """Create a generation and delete the earlier ones; return whether it is the highest and this caller's own."""
        if not self._create(generation, state):
            return False
        found = self._generations()
        if max(found, default=0) == generation:
            for earlier in found.keys() - {generation}:
                self._delete(earlier)
            return True
        # A slow taker's number: it was won by another, and swept away with the next generation.
        self._delete(generation)
        return False

    def _create(self, generation: int, state: _State) -> bool:
        with translated(self._uri):
            name, text = f"{self._prefix}{generation}", json.dumps(asdict(state))
            try:
                self._client.create_registered_model(name, tags={_TAG: text}, description=_ABOUT)
            except Exception as error:
                if error_code(error) != "RESOURCE_ALREADY_EXISTS":
                    raise
                # The client repeats a call whose answer was lost, and then finds what it made itself.
                return self._generations().get(generation) == text
        return True

    def _delete(self, generation: int) -> None:
        with suppress(RegistryError), translated(self._uri):
            self._client.delete_registered_model(f"{self._prefix}{generation}")

    def _generations(self) -> dict[int, str]:
        found: dict[int, str] = {}
        token = None
        with translated(self._uri):
            while True:
                page = self._client.search_registered_models(f"name LIKE '{self._prefix}%'", page_token=token)
                for model in page:
                    number = str(model.name).removeprefix(self._prefix)
                    if number.isdecimal() and str(model.name).startswith(self._prefix):
                        found[int(number)] = dict(model.tags).get(_TAG, "")
                token = page.token
                if not token:
                    return found

    def _locked(self, state: _State) -> LockedError:
        since, until = (datetime.fromtimestamp(at, UTC) for at in (state.since, state.taken_until))
        return LockedError(self.name, owner=state.owner, since=since, until=until)


def _parsed(text: str) -> _State | None:
    """Return what a tag says, or None if it was spoilt by hand, which frees the lock."""
    try:
        fields = json.loads(text)
        numbers = (float(fields[name]) for name in ("since", "seconds", "expires"))
        return _State(str(fields["token"]), plain(str(fields["owner"])), *numbers)
    except (ValueError, KeyError, TypeError):
        return None
