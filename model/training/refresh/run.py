"""One refresh from end to end: lock, read, add up, publish, prune."""

import fcntl
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import duckdb

from model.address import Location
from model.registry import STATISTICS_NAME, Version, open_publisher
from model.settings import Settings
from model.training.progress import Stages
from model.training.refresh.advance import Fresh, Task, advance, note_published
from model.training.refresh.contract import RefreshBusyError, RefreshError, RefreshOutcome, Verdict
from model.training.refresh.prepared import add_up, find_prepared
from model.training.refresh.publish import Office, hour_of

STAGES = 7
FOLDER = "refresh"  # in the work folder
LAST_RUN = "last_run.json"


def refresh(
    history: Location,
    *,
    settings: Settings,
    tracking_uri: str,
    as_of_hour: int | None = None,
    say: Callable[[str], None] = lambda text: None,
    progress: bool = True,
) -> RefreshOutcome:
    """Publish the statistics of an hour, equal to the last bit to those of a preparation from scratch.

    Parameters
    ----------
    history
        A CSV or Parquet file, or a folder of them: a path, `s3://bucket/prefix` or `hdfs://host:port/path`. Or an
        address that `antifraud prepare` wrote to; the statistics are then as fresh as what it wrote.
    tracking_uri
        MLflow registry, as `model.registry.open_publisher` takes it.
    as_of_hour
        Hours since 1970; None for the one by which all transactions of the history have happened.
    say
        Told what takes long, before it begins.
    progress
        Whether to show the stage at work on a terminal.

    Raises
    ------
    RefreshBusyError, LockedError
        If another refresh is at work, or another job keeps hold of the registry; the next run makes up for it.
    HistoryError, RefreshError, SettingsError, RegistryError
        The statistics in use stay.
    """
    folder = settings.work_folder / FOLDER
    with exclusive(folder) as scratch, Stages(STAGES, shown=progress) as stages, _explained(folder):
        stages.begin("opening the registry")
        office = Office(open_publisher(tracking_uri), settings.id_hasher().fingerprint)
        office.refuse_misfit()
        current = office.current()
        task = replace(
            Task.of(settings, history, reports=settings.reports, folder=folder),
            as_of_hour=as_of_hour,
            current_hour=hour_of(current),
            current_digest=current.tags.get("manifest_sha256") if current else None,
        )
        prepared = find_prepared(task)
        fresh = advance(task, stages=stages, say=say) if prepared is None else add_up(task, prepared, stages=stages)
        stages.begin("registering")
        version, is_new = _registered(fresh, office, task, current, folder=scratch)
        stages.begin("deleting old statistics")
        pruned, trouble = office.prune(keep=settings.kept_statistics) if is_new else (0, "")
    outcome = _outcome(
        fresh, version, is_new, pruned=pruned, notes=(*fresh.notes, *([trouble] if trouble else ())), stages=stages
    )
    _write(folder / LAST_RUN, outcome)
    return outcome


def _registered(
    fresh: Fresh, office: Office, task: Task, current: Version | None, *, folder: Path
) -> tuple[Version, bool]:
    """Return the version that is current now, and whether it is a new one."""
    if fresh.snapshot is None:
        assert current is not None  # noqa: S101  nothing is as it was published where nothing was
        return current, False
    figures = {
        "customers": float(len(fresh.snapshot.customer.keys)),
        "terminals": float(len(fresh.snapshot.terminal.keys)),
        "rows_read": float(fresh.cleaning.rows_read),
    }
    version, is_new = office.register(fresh.snapshot, folder / STATISTICS_NAME, figures=figures)
    if not fresh.from_prepared:
        note_published(task, version.tags["manifest_sha256"])
    return version, is_new


def _outcome(
    fresh: Fresh, version: Version, is_new: bool, *, pruned: int, notes: tuple[str, ...], stages: Stages
) -> RefreshOutcome:
    return RefreshOutcome(
        verdict=Verdict.PUBLISHED if is_new else Verdict.UNCHANGED,
        statistics=version,
        as_of_hour=fresh.as_of_hour,
        rebuilt=fresh.rebuilt,
        files_read=fresh.files_read,
        files_gone=fresh.files_gone,
        cleaning=fresh.cleaning,
        reports=fresh.reports,
        too_old=fresh.too_old,
        customers=len(fresh.snapshot.customer.keys) if fresh.snapshot else None,
        terminals=len(fresh.snapshot.terminal.keys) if fresh.snapshot else None,
        pruned=pruned,
        notes=notes,
        seconds=stages.seconds,
        from_prepared=fresh.from_prepared,
    )


@contextmanager
def exclusive(folder: Path) -> Iterator[Path]:
    """Keep a second run out, and give a scratch folder that is gone afterwards.

    What a run that was killed has left in it goes first: raw ids may be among it.

    Raises
    ------
    RefreshBusyError
        If another run holds the folder. The system lets go of it when that run ends in whatever way.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RefreshBusyError(f"another refresh is at work in {folder}: nothing was done") from None
        scratch = folder / "scratch"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Say in one line what DuckDB could not do: memory, disk."""
    try:
        yield
    except duckdb.Error as error:
        # Only the first line: those after it may quote a row.
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise RefreshError(f"the refresh in {folder} failed: {reason}") from error


def _write(path: Path, outcome: RefreshOutcome) -> None:
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(outcome.as_dict(), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    draft.replace(path)
