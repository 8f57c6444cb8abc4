"""Another champion or newer statistics while payments are answered: ask, try, load beside, swap in one step."""

import logging
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from model.registry import (
    CHALLENGER,
    MODEL_NAME,
    AliasNotFoundError,
    RegistryError,
    RegistryReader,
    Version,
    open_reader,
    registry_uri,
)
from model.settings import Settings
from service.cache import Key, Pair
from service.freshness import Freshness
from service.loading import Loader, keys_of, resolve_pair, settled_pair
from service.scorer import Loaded

JITTER = 0.1  # share of the time between polls, so that the pods of a deployment do not ask all at once
LONGEST_BACKOFF = 3600.0  # seconds until a pair that failed is tried again
REMEMBERED_FAILURES = 64

log = logging.getLogger("antifraud")


class Reloader:
    """Keeps the service at what the registry names, from a thread of its own.

    Whatever goes wrong here, the loaded pair goes on answering. The pair before it and the model before it stay in
    memory, so that the way back needs no download.

    Parameters
    ----------
    loaded
        What answers now.
    swap
        Takes another pair into service, the first of those it is given; the others stay in memory. Called in this
        object's thread.
    follow
        Told which version carries the alias `challenger`, None for none, at each poll; None: nobody wants to know.
    """

    def __init__(
        self,
        settings: Settings,
        loaded: Loaded,
        *,
        swap: Callable[[tuple[Loaded, ...]], None],
        freshness: Freshness,
        follow: Callable[[Version | None], None] | None = None,
        loader: Loader | None = None,
        reader: RegistryReader | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._poll_seconds = settings.poll_seconds
        self._swap, self._follow, self._freshness = swap, follow, freshness
        self._loader = loader or Loader(settings)
        self._reader = reader or open_reader(registry_uri(settings))
        self._clock = clock
        self._held: tuple[Loaded, ...] = (loaded,)
        self._failures: dict[tuple[Key, Key], tuple[int, float]] = {}
        self._reachable = True
        self._stopped = threading.Event()
        if not loaded.from_disk:
            freshness.note_answer()
        self._thread = threading.Thread(target=self._run, name="reload", daemon=True)

    @property
    def current(self) -> Loaded:
        """The pair in service."""
        return self._held[0]

    @property
    def kept(self) -> tuple[Loaded, ...]:
        """The pairs in memory beside the one in service."""
        return self._held[1:]

    def start(self) -> None:
        """Begin to ask, unless the settings say never."""
        if self._poll_seconds:
            self._thread.start()

    def close(self) -> None:
        """Ask no more. A trial under way ends with the process."""
        self._stopped.set()

    def _run(self) -> None:
        rng = random.Random()  # noqa: S311  no secret
        while not self._stopped.wait(self._poll_seconds * rng.uniform(1 - JITTER, 1 + JITTER)):
            try:
                self.poll()
            except Exception as error:
                # Nothing that happens here may end the thread: the next poll may go well.
                log.error("unexpected %s while asking the registry", type(error).__name__, exc_info=error)

    def poll(self) -> None:
        """Ask the registry once, and do what it takes to be where it says."""
        try:
            pair = resolve_pair(self._reader)
            if pair.keys != keys_of(self.current):
                pair = settled_pair(self._reader)
        except (RegistryError, ValueError) as error:
            self._note_unreachable(error)
            return
        if not self._reachable:
            log.warning("the registry answers again")
        self._reachable = True
        changed = pair.keys != keys_of(self.current)
        self._freshness.count_poll("changed" if changed else "unchanged")
        if changed:
            self._change_to(pair)
        else:
            self._freshness.show_refused(False)
            if self.current.from_disk:
                self._take(replace(self.current, from_disk=False))
        if self._follow is not None:
            with suppress(RegistryError):  # the champion is what matters; the next poll asks again
                self._follow(self._challenger(pair))

    def _note_unreachable(self, error: Exception) -> None:
        if self._reachable:
            log.warning("%s; model and statistics stay as they are", error)
        self._reachable = False
        self._freshness.count_poll("failed")

    def _change_to(self, pair: Pair) -> None:
        failures, not_before = self._failures.get(pair.keys, (0, 0.0))
        if self._clock() < not_before:
            return
        started = self._clock()
        self._loader.cache.prune(self._pairs())  # room for what comes
        try:
            loaded = self._loader.load(pair, held=self._held)
        except Exception as error:
            self._note_failure(pair, error, failures=failures + 1, seconds=self._clock() - started)
            return
        self._failures.pop(pair.keys, None)
        self._take(loaded)
        self._freshness.count_reload("swapped", self._clock() - started)
        self._freshness.show_refused(False)
        self._loader.cache.prune(self._pairs())
        log.info("now serving %s, as of %s", pair, loaded.snapshot.as_of)

    def _note_failure(self, pair: Pair, error: Exception, *, failures: int, seconds: float) -> None:
        self._freshness.count_reload("unavailable" if isinstance(error, RegistryError) else "refused", seconds)
        self._freshness.show_refused(True)
        if failures == 1:
            # An unexpected error's own text may hold anything.
            expected = isinstance(error, RegistryError | ValueError | OSError)
            reason = str(error) if expected else f"an unexpected {type(error).__name__}"
            log.error("%s is not taken, the pair before it stays: %s", pair, reason)
        pause = min(self._poll_seconds * 2 ** min(failures - 1, 20), LONGEST_BACKOFF)
        while len(self._failures) >= REMEMBERED_FAILURES:
            self._failures.pop(next(iter(self._failures)))
        self._failures[pair.keys] = failures, self._clock() + pause

    def _take(self, loaded: Loaded) -> None:
        held = (loaded, *_worth_keeping(loaded, self._held))
        self._swap(held)
        self._held = held
        for one in self.kept:
            if one.tables is not None and one.tables is not loaded.tables:
                one.tables.rest()

    def _pairs(self) -> list[Pair]:
        return [_pair_of(one) for one in self._held]

    def _challenger(self, pair: Pair) -> Version | None:
        try:
            found = self._reader.resolve(MODEL_NAME, CHALLENGER)
        except AliasNotFoundError:
            return None
        return None if found.version == pair.model.version else found


def _worth_keeping(loaded: Loaded, before: tuple[Loaded, ...]) -> tuple[Loaded, ...]:
    """Return the pair that answered last, and the latest other model if that pair does not have it."""
    others = [one for one in before if keys_of(one) != keys_of(loaded)]
    if not others:
        return ()
    kept = [others[0]]
    models = {keys_of(one)[0] for one in (loaded, others[0])}
    for one in others[1:]:
        if len(models) == 1 and keys_of(one)[0] not in models:
            # Only its model is of use; its statistics must not be held for weeks.
            kept.append(
                replace(loaded, bundle=one.bundle, model_version=one.model_version, model_digest=one.model_digest)
            )
            break
    return tuple(kept)


def _pair_of(loaded: Loaded) -> Pair:
    versions = [
        Version(name, number, "", {"manifest_sha256": digest}, None)
        for name, (number, digest) in zip(("model", "statistics"), keys_of(loaded), strict=True)
    ]
    return Pair(*versions)
