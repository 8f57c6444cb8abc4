"""A challenger out of a history, held against the champion; the alias moves on evidence, or the reason is said.

The order of writes makes it safe to kill at any point: everything is registered before an alias moves, fresher
statistics fit the old champion as well as the new one, and the champion itself moves last, in one step.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from model.address import Location
from model.registry import (
    CHALLENGER,
    CHAMPION,
    CURRENT,
    MODEL_NAME,
    STATISTICS_NAME,
    AliasMovedError,
    Lease,
    Publisher,
    Version,
    default_who,
    open_publisher,
    open_reader,
)
from model.settings import Settings
from model.training.evaluation import Evaluation
from model.training.making import MAKING_STAGES, Made, make
from model.training.prepare import CleaningReport
from model.training.progress import Stages
from model.training.publish import EXPERIMENT, is_fresher, register, same_kind
from model.training.report_files import write_json
from model.training.rival import Judgement, Rival, gate_rules, judge, read_rival
from model.training.scratch import scratch_folder

STAGES = MAKING_STAGES + 6
LOCK = f"{MODEL_NAME}.retrain"


class Verdict(StrEnum):
    """How a run ended that did not fail."""

    PROMOTED = "promoted"
    KEPT = "kept"
    OVERTAKEN = "overtaken"


@dataclass(frozen=True, slots=True)
class RetrainOutcome:
    """What a run registered, and what became of it.

    Attributes
    ----------
    champion
        The champion before; None if there was none.
    reasons
        Why the alias moved or did not, a sentence each.
    """

    verdict: Verdict
    model: Version
    statistics: Version
    champion: Version | None
    reasons: tuple[str, ...]
    cleaning: CleaningReport
    evaluation: Evaluation
    report: Path
    seconds: dict[str, float]


@dataclass(frozen=True, slots=True)
class _Registered:
    """The two new versions, the champion that they were held against, and what came of it."""

    model: Version
    statistics: Version
    champion: Version | None
    judgement: Judgement


def retrain(address: Location, *, settings: Settings, tracking_uri: str, progress: bool = True) -> RetrainOutcome:
    """Train a challenger on a history, register it, and promote it if the gate lets it pass.

    Where there is no champion yet, the model becomes it. Of two runs at once one works; a champion that another job
    appoints meanwhile stays.

    Parameters
    ----------
    address
        A CSV or Parquet file, or a folder of them: a path, `s3://bucket/prefix` or `hdfs://host:port/path`.
    tracking_uri
        MLflow registry, as `model.registry.open_publisher` takes it.
    progress
        Whether to show the stage at work on a terminal.

    Raises
    ------
    LockedError
        Another run is at work; nothing was done.
    HistoryError, CleaningError, SplitError, TrainingError, SettingsError, RegistryError
        The champion is as it was.
    """
    hasher, who = settings.id_hasher(), f"antifraud retrain, {default_who()}"
    gate_rules(settings)  # its mistakes are better known now than in an hour
    with scratch_folder(settings.work_folder) as scratch, Stages(STAGES, shown=progress) as stages:
        stages.begin("opening the registry")
        publisher = open_publisher(tracking_uri)
        with publisher.lock(LOCK, who) as lease:
            rival = read_rival(
                publisher, open_reader(tracking_uri), folder=scratch / "rival", id_key_fingerprint=hasher.fingerprint
            )
            made = make(address, settings=settings, hasher=hasher, scratch=scratch, stages=stages)
            lease.check()
            registered = _register(made, rival, publisher, settings=settings, folder=scratch, who=who, stages=stages)
            stages.begin("moving aliases")
            verdict, said = _act(registered, publisher, lease=lease, who=who)
    outcome = _outcome(made, registered, verdict, (*registered.judgement.reasons, *said), seconds=stages.seconds)
    _write_verdict(outcome)
    return outcome


def _register(
    made: Made,
    rival: Rival | None,
    publisher: Publisher,
    *,
    settings: Settings,
    folder: Path,
    who: str,
    stages: Stages,
) -> _Registered:
    """Register the challenger with its statistics and, once it was compared, with what the gate found."""
    stages.begin("registering")
    key = settings.id_hasher().fingerprint
    with publisher.run(EXPERIMENT, "retrain", {"as_of": made.candidate.snapshot.as_of}) as run:
        model, statistics = register(
            made.candidate, made.report, publisher, run=run, folder=folder, id_key_fingerprint=key
        )
        publisher.move_alias(MODEL_NAME, CHALLENGER, model.version, who=who, why="trained")
        judgement = judge(made, rival, settings=settings, bundle=folder / MODEL_NAME, stages=stages)
        gate = made.report / "gate"
        for file in sorted(gate.iterdir()) if gate.is_dir() else ():
            run.log_file(file, "gate")
        passed = "passed" if judgement.promote else "not passed"
        run.log_tags({"gate": passed, "gate_said": " ".join(judgement.reasons)})
    return _Registered(model, statistics, rival.version if rival else None, judgement)


def _act(registered: _Registered, publisher: Publisher, *, lease: Lease, who: str) -> tuple[Verdict, list[str]]:
    """Move the aliases that are to move, the champion last; return what came of it and what else there is to say."""
    champion, promote = registered.champion, registered.judgement.promote
    lease.check()
    said = []
    if promote or (champion is not None and same_kind(champion, registered.statistics)):
        said += _freshen(publisher, registered.statistics, who=who)
    if not promote:
        return Verdict.KEPT, said
    why = " ".join(registered.judgement.reasons)
    expected = champion.version if champion else None
    lease.check()
    try:
        publisher.move_alias(MODEL_NAME, CHAMPION, registered.model.version, who=who, why=why, expected=expected)
    except AliasMovedError as error:
        return Verdict.OVERTAKEN, [*said, f"{error}."]
    return Verdict.PROMOTED, said


def _freshen(publisher: Publisher, statistics: Version, *, who: str) -> list[str]:
    """Let the new statistics be those in use, unless others of a later hour are; nobody is set back in time."""
    present = publisher.find_alias(STATISTICS_NAME, CURRENT)
    if is_fresher(present, statistics):
        return [f"The statistics in use, {present}, are fresher than those of this run and stay."]
    expected = present.version if present else None
    try:
        publisher.move_alias(STATISTICS_NAME, CURRENT, statistics.version, who=who, why="retrained", expected=expected)
    except AliasMovedError:
        # An hourly refresh has moved them since they were looked up; its hour is the present one.
        return ["The statistics in use were refreshed meanwhile and stay."]
    return []


def _outcome(
    made: Made, registered: _Registered, verdict: Verdict, reasons: tuple[str, ...], *, seconds: dict[str, float]
) -> RetrainOutcome:
    return RetrainOutcome(
        verdict,
        registered.model,
        registered.statistics,
        registered.champion,
        reasons,
        made.periods.cleaning,
        made.tested.evaluation,
        made.report,
        seconds,
    )


def _write_verdict(outcome: RetrainOutcome) -> None:
    write_json(outcome.report / "stages.json", outcome.seconds)
    write_json(
        outcome.report / "verdict.json",
        {
            "verdict": str(outcome.verdict),
            "model_version": outcome.model.version,
            "statistics_version": outcome.statistics.version,
            "champion_before": outcome.champion.version if outcome.champion else None,
            "reasons": list(outcome.reasons),
        },
    )
