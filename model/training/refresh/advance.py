"""From the files that are there to the statistics of an hour, by way of the state or, where it is of no use, anew."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb

from model.address import Location
from model.settings import Settings
from model.statistics import HOUR, LONGEST_WINDOW, Snapshot, hour_text
from model.training.addresses import Days
from model.training.database import connect
from model.training.prepare import CleaningReport
from model.training.progress import Stages
from model.training.refresh.contract import RefreshError, ReportLines, Rules, StateError, refuse_backwards
from model.training.refresh.incoming import Reader
from model.training.refresh.rings import Rings
from model.training.refresh.sources import Changes, Found, Source, changes, find_sources
from model.training.refresh.state import State, attached, gone_sql, put_in_place, recipe, state_errors
from model.training.refresh.sums import cleaning_report, drop_expired, last_hour
from model.transaction import IdHasher

STATE = "state.duckdb"
_PUBLISHED = "published"


@dataclass(frozen=True, slots=True)
class Task:
    """What a run is to add up, and where.

    Attributes
    ----------
    folder
        Holds the state, and a scratch folder while the run lasts.
    as_of_hour
        The hour to add up for; None for the one by which all transactions of the history have happened.
    current_hour, current_digest
        Hour and manifest of the statistics in use; None where there are none.
    """

    history: Location
    reports: Location | None
    folder: Path
    rules: Rules
    hasher: IdHasher
    memory_limit: str
    threads: int
    skip_unreadable: bool = False
    as_of_hour: int | None = None
    current_hour: int | None = None
    current_digest: str | None = None

    @classmethod
    def of(cls, settings: Settings, history: Location, *, reports: Location | None, folder: Path) -> "Task":
        """Return the task that the settings give, for the last hour of the history."""
        rules, hasher = Rules.of(settings), settings.id_hasher()
        limits = settings.memory_limit, settings.threads, settings.skip_unreadable_files
        return cls(history, reports, folder, rules, hasher, *limits)

    @property
    def days(self) -> Days | None:
        """The days of transactions that can matter to the statistics of the hour; None where the history gives it."""
        if self.as_of_hour is None:
            return None
        return Days.of_seconds(self.rules.earliest_hour(self.as_of_hour) * HOUR, self.as_of_hour * HOUR)

    @property
    def recipe(self) -> dict[str, str]:
        """All that the rows of the state hang on."""
        return recipe(self.rules, id_key_fingerprint=self.hasher.fingerprint)


@dataclass(frozen=True, slots=True)
class Fresh:
    """What a run read, and the statistics that it added up; `snapshot` is None if all is as it was published."""

    as_of_hour: int
    snapshot: Snapshot | None
    rebuilt: str
    files_read: int
    files_gone: int
    cleaning: CleaningReport
    reports: ReportLines
    too_old: int
    notes: tuple[str, ...]
    from_prepared: bool = False


def advance(task: Task, *, stages: Stages, say: Callable[[str], None]) -> Fresh:
    """Bring the state up to the files that are there and add up the statistics.

    Killed at any point, the state is as it was or as it should be. What the statistics are hangs on the files and the
    hour alone, not on earlier runs.

    Parameters
    ----------
    say
        Told why, before the state is built anew.

    Raises
    ------
    HistoryError
        If a file cannot be read.
    RefreshError
        If there is nothing to add up, or the statistics in use are of a later hour.
    RefreshBusyError
        If another program has the state open.
    """
    if task.as_of_hour is not None:
        refuse_backwards(task.current_hour, as_of_hour=task.as_of_hour)
    stages.begin("looking for files")
    found = find_sources(task.history, task.reports, days=task.days)
    place = task.folder / STATE
    reason = "there is none yet"
    if place.exists():
        try:
            return _Attempt(task, found, stages).run(place)
        except StateError as error:
            reason = str(error)
    say(f"building the state from the whole history: {reason}")
    draft = place.with_name(f"{STATE}.new")
    for leftover in (draft, draft.with_name(f"{draft.name}.wal")):
        leftover.unlink(missing_ok=True)
    fresh = _Attempt(task, found, stages).run(draft, rebuilt=reason)
    put_in_place(draft, place)
    return fresh


def note_published(task: Task, digest: str) -> None:
    """Remember that the statistics of the state as it is are those with this manifest."""
    with scratch_database(task) as connection, attached(connection, task.folder / STATE) as state, state_errors():
        state.note(_PUBLISHED, digest)


def scratch_database(task: Task) -> duckdb.DuckDBPyConnection:
    """Open the database of this run alone."""
    return connect(task.folder / "scratch", memory_limit=task.memory_limit, threads=task.threads)


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One way through all steps, with the state of earlier runs or with a new one."""

    task: Task
    found: dict[Source, Found]
    stages: Stages

    def run(self, place: Path, *, rebuilt: str = "") -> Fresh:
        with scratch_database(self.task) as connection, attached(connection, place) as state:
            with state_errors():
                if rebuilt:
                    state.create(self.task.recipe)
                else:
                    state.refuse_other(self.task.recipe)
                known = state.known()
                changed = changes(known, self.found)
                _refuse_upheaval(state, changed)
            return self._fresh(connection, state, changed, known=known, rebuilt=rebuilt)

    def _fresh(
        self,
        connection: duckdb.DuckDBPyConnection,
        state: State,
        changed: Changes,
        *,
        known: dict[Source, int],
        rebuilt: str,
    ) -> Fresh:
        task, stages, numbers = self.task, self.stages, state.numbered(changed, known)
        stages.begin("reading files", parts=max(1, len(changed.new)), unit="files")
        with Reader(connection, task.hasher, task.rules, skip_unreadable=task.skip_unreadable) as reader:
            incoming = reader.read(changed.new, numbers, among_others=bool(known), on_file=stages.part)
        # A file that was skipped is new to the next run too.
        changed = changed.without(incoming.skipped)
        numbers = {source: number for source, number in numbers.items() if source in changed.new}
        stages.begin("updating the state")
        with state_errors():
            hour = task.as_of_hour if task.as_of_hour is not None else last_hour(connection, changed)
            refuse_backwards(task.current_hour, as_of_hour=hour)
            before = state.noted("as of hour")
            if before is not None and hour < int(before):
                raise StateError(f"an hour is asked for that is earlier than {hour_text(int(before))}")
            too_old = drop_expired(connection, task.rules, as_of_hour=hour)
            is_published = (
                not (changed.new or changed.gone)
                and before == str(hour)
                and task.current_digest is not None
                and state.noted(_PUBLISHED) == task.current_digest
            )
            rings = Rings(connection, state, task.rules, as_of_hour=hour)
            notes: tuple[str, ...] = ()
            if not is_published:
                with state.changing():
                    rings.before(changed)
                    state.advance(changed, numbers, task.rules, as_of_hour=hour)
                    stages.begin("adding up")
                    notes = rings.after()
            report = cleaning_report(connection, incoming)
            snapshot = None if is_published else refuse_nobody(rings.snapshot())
        counts = len(changed.new), len(changed.gone)
        return Fresh(hour, snapshot, rebuilt, *counts, report, incoming.reports, too_old, notes)


def _refuse_upheaval(state: State, changed: Changes) -> None:
    """Raise `StateError` where so many rows go that building anew is less work."""
    if changed.gone and 2 * state.count("rows", gone_sql(changed)) > state.count("rows"):
        raise StateError("more than half of its rows came from files that are gone or changed")


def refuse_nobody(snapshot: Snapshot) -> Snapshot:
    """Return a snapshot that knows somebody, or raise `RefreshError`."""
    if not len(snapshot.customer.keys):
        raise RefreshError(
            f"the history has no transaction in the {LONGEST_WINDOW[:-1]} days before {snapshot.as_of}:"
            " nothing was published"
        )
    return snapshot
