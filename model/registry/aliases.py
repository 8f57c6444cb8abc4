"""Aliases move under a lock, and every move is written down before it happens and marked once it has."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from model.registry.contract import (
    ANY,
    CHAMPION,
    CURRENT,
    MODEL_NAME,
    STATISTICS_NAME,
    AliasMovedError,
    Expected,
    RefusedError,
    RegistryError,
)
from model.registry.embedded import translated
from model.registry.history import Move, MoveState, encode, new_move, recorded, surplus, told
from model.registry.lease import Lease, held
from model.registry.writer import Writer

if TYPE_CHECKING:
    from mlflow import MlflowClient

LEASE_SECONDS = 120.0
MOVE_LEASE_SECONDS = 60.0
MOVE_WAIT_SECONDS = 90.0
"""Longer than the lock of a killed mover lives, so that a rollback need not be asked for twice."""

_FIT = {"id_key_fingerprint": "another id key", "feature_schema": "other features"}


def misfit(tags: Mapping[str, str], others: Mapping[str, str]) -> str | None:
    """Return why a model and statistics with these tags cannot be used together, or None; what one lacks may fit."""
    for tag, words in _FIT.items():
        if tag in tags and tag in others and tags[tag] != others[tag]:
            return words
    return None


@dataclass(frozen=True, slots=True)
class _Plan:
    """A checked move, and the records that are dropped for its sake."""

    move: Move
    surplus: Sequence[Move] = ()


class AliasMover(Writer):
    """Move aliases, and tell how they moved."""

    def __init__(self, client: "MlflowClient", uri: str, *, artifact_location: str | None) -> None:
        super().__init__(client, uri, artifact_location=artifact_location)
        self._leases: dict[tuple[str, int], Lease] = {}

    @contextmanager
    def lock(self, name: str, owner: str, *, seconds: float = LEASE_SECONDS, wait: float = 0.0) -> Iterator[Lease]:
        """Keep every other process and machine out while the block runs; renewed while this process lives.

        Alias moves of a model hold the lock of the model's name, for less than a second. A long job takes a lock of
        its own name, such as `fraud-model.retrain`, so that a rollback need not wait for it. Within the block the same
        thread may take the same lock of this object again.

        Parameters
        ----------
        seconds
            How long the lock outlives a holder that was killed, and a quarter more for clocks that differ.
        wait
            How many seconds to wait for another holder.

        Raises
        ------
        LockedError
            Another holds the lock; the error says who, since when and until when at most.
        RegistryUnavailableError
            The registry cannot be reached.
        """
        own = (name, threading.get_ident())
        if own in self._leases:
            yield self._leases[own]
            return
        with held(self._client, self._uri, name, owner, seconds=seconds, wait=wait) as lease:
            self._leases[own] = lease
            try:
                yield lease
            finally:
                del self._leases[own]

    def move_alias(self, name: str, alias: str, version: str, *, who: str, why: str, expected: Expected = ANY) -> Move:
        """Let an alias name a version, and record who moved it and why.

        The record is written before the alias moves and marked done after, so that a crash between shows in `moves`.
        Repeating a move that has happened changes nothing, whatever was expected, and marks its record done.

        Parameters
        ----------
        expected
            The version that the alias must name now, None if it must not exist yet, `ANY` to move it from anywhere.

        Raises
        ------
        AliasMovedError
            The alias names another version than expected; nothing was changed.
        LockedError
            Another held the lock of this model for a minute and a half.
        RegistryError
            The registry does not know the version, or does not allow the alias.
        RegistryUnavailableError
            The registry cannot be reached; `moves` says whether the alias moved.
        """
        with self._locked(name, who) as lease:
            plan = self._planned(name, alias, version, who=who, why=why, expected=expected)
            return self._carried_out([plan], lease.check)[0]

    def move_pair(
        self,
        model_version: str,
        statistics_version: str,
        *,
        who: str,
        why: str,
        expected_model: Expected = ANY,
        expected_statistics: Expected = ANY,
    ) -> tuple[Move, Move]:
        """Let `champion` and `current` name a model and statistics that fit each other; return both moves.

        Everything is checked and recorded before either alias moves. The statistics go first: killed between, the
        champion is unchanged, and repeating the call completes the pair. If the second move is refused, the first
        is taken back.

        Raises
        ------
        RefusedError
            The two do not fit each other: another id key or other features.
        AliasMovedError, LockedError, RegistryError, RegistryUnavailableError
            As `move_alias`; nothing was changed if either alias is not as expected.
        """
        with self._both_locked(who) as check:
            return self._pair_moved(
                model_version,
                statistics_version,
                who=who,
                why=why,
                expected=(expected_model, expected_statistics),
                check=check,
            )

    def moves(self, name: str) -> list[Move]:
        """Return the recorded moves of a model's aliases, newest first, with those that happened without a record.

        Raises
        ------
        RegistryUnavailableError
            The registry cannot be reached.
        """
        page = self._page(name)
        return told(name, page.tags, page.aliases)

    @contextmanager
    def _locked(self, name: str, who: str) -> Iterator[Lease]:
        with self.lock(name, who, seconds=MOVE_LEASE_SECONDS, wait=MOVE_WAIT_SECONDS) as lease:
            yield lease

    @contextmanager
    def _both_locked(self, who: str) -> Iterator[Callable[[], None]]:
        # Always in this order, or two callers could each hold the one that the other waits for.
        with self._locked(MODEL_NAME, who) as model, self._locked(STATISTICS_NAME, who) as statistics:

            def check() -> None:
                model.check()
                statistics.check()

            yield check

    def _pair_moved(
        self,
        model: str,
        statistics: str,
        *,
        who: str,
        why: str,
        expected: tuple[Expected, Expected],
        check: Callable[[], None],
    ) -> tuple[Move, Move]:
        reason = misfit(self._version(MODEL_NAME, model).tags, self._version(STATISTICS_NAME, statistics).tags)
        if reason:
            raise RefusedError(
                f"{MODEL_NAME} version {model} and {STATISTICS_NAME} version {statistics} do not fit: {reason}"
            )
        plans = [
            self._planned(name, alias, version, who=who, why=why, expected=wanted)
            for name, alias, version, wanted in (
                (STATISTICS_NAME, CURRENT, statistics, expected[1]),
                (MODEL_NAME, CHAMPION, model, expected[0]),
            )
        ]
        moved_statistics, moved_model = self._carried_out(plans, check)
        return moved_model, moved_statistics

    def _planned(self, name: str, alias: str, version: str, *, who: str, why: str, expected: Expected) -> _Plan:
        """Return the move that is needed, all checked and nothing changed yet."""
        self._version(name, version)  # a version that does not exist is refused here, before anything is written
        page = self._page(name)
        known = recorded(name, page.tags)
        before = page.aliases.get(alias)
        if before == version:
            return self._there_already(name, alias, version, known)
        if expected is not ANY and before != expected:
            raise AliasMovedError(name, alias, expected=expected, current=before)
        now = datetime.now(UTC)
        move = new_move(name, alias, before=before, after=version, who=who, why=why, at=now, known=known)
        return _Plan(move, surplus([*known, move], now=now))

    def _there_already(self, name: str, alias: str, version: str, known: list[Move]) -> _Plan:
        last = next((move for move in reversed(known) if move.alias == alias), None)
        if last is not None and last.after == version and last.state != MoveState.DONE:
            # Its mover died between the alias and the mark.
            return _Plan(replace(last, state=MoveState.MOVED))
        return _Plan(Move(name, alias, version, version, "", "", datetime.now(UTC), MoveState.UNCHANGED))

    def _carried_out(self, plans: list[_Plan], check: Callable[[], None]) -> list[Move]:
        begun = [plan.move for plan in plans if plan.move.state == MoveState.UNCLEAR]
        for move in begun:
            self._write(move, done=False)
        check()
        for count, move in enumerate(begun):
            try:
                self._set_alias(move)
            except RegistryError:
                self._taken_back(begun[:count])
                raise
        finished = [self._finished(plan.move) for plan in plans]
        for plan in plans:
            self._drop(plan.surplus)
        return finished

    def _set_alias(self, move: Move) -> None:
        with translated(self._uri):
            self._client.set_registered_model_alias(move.name, move.alias, move.after)

    def _taken_back(self, moved: list[Move]) -> None:
        # Best effort: what cannot be taken back now shows in the record as moved and not marked done.
        for move in moved:
            with suppress(RegistryError), translated(self._uri):
                if move.before is None:
                    self._client.delete_registered_model_alias(move.name, move.alias)
                else:
                    self._client.set_registered_model_alias(move.name, move.alias, move.before)

    def _finished(self, move: Move) -> Move:
        if move.state == MoveState.UNCHANGED:
            return move
        self._write(move, done=True)
        return replace(move, state=MoveState.DONE)

    def _write(self, move: Move, *, done: bool) -> None:
        with translated(self._uri):
            self._client.set_registered_model_tag(move.name, move.key, encode(move, done=done))

    def _drop(self, moves: Sequence[Move]) -> None:
        with suppress(RegistryError), translated(self._uri):
            for move in moves:
                self._client.delete_registered_model_tag(move.name, move.key)
