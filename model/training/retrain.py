"""A challenger out of a history, held against the champion; the alias moves on evidence, or the reason is said.

The order of writes makes it safe to kill at any point: everything is registered before an alias moves, fresher
statistics fit the old champion as well as the new one, and the champion itself moves last, in one step.
"""

from dataclasses import dataclass
from pathlib import Path

from model.address import Location
from model.registry import CHALLENGER, MODEL_NAME, Publisher, Version, default_who, open_publisher, open_reader
from model.settings import Settings
from model.training.evaluation import Evaluation
from model.training.making import MAKING_STAGES, Made, make
from model.training.prepare import CleaningReport
from model.training.progress import Stages
from model.training.promote import LOCK, Judged, Verdict, act, freshen_for, note_judgement
from model.training.publish import EXPERIMENT, register
from model.training.report_files import write_json
from model.training.rival import Rival, gate_rules, judge, read_rival
from model.training.scratch import scratch_folder

STAGES = MAKING_STAGES + 6


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


def retrain(
    address: Location, *, settings: Settings, tracking_uri: str, may_promote: bool = True, progress: bool = True
) -> RetrainOutcome:
    """Train a challenger on a history, register it, and promote it if the gate lets it pass.

    Where there is no champion yet, the model becomes it. Of two runs at once one works; a champion that another job
    appoints meanwhile stays.

    Parameters
    ----------
    address
        A CSV or Parquet file, or a folder of them: a path, `s3://bucket/prefix` or `hdfs://host:port/path`.
    tracking_uri
        MLflow registry, as `model.registry.open_publisher` takes it.
    may_promote
        Without this the champion stays, whatever the gate says; `model.training.promote.promote` acts on it later.
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
            judged = _register(made, rival, publisher, settings=settings, folder=scratch, who=who, stages=stages)
            stages.begin("moving aliases")
            champion = rival.version if rival else None
            if may_promote:
                verdict, said = act(judged, publisher, champion=champion, lease=lease, who=who)
            else:
                lease.check()
                verdict, said = Verdict.WAITING, freshen_for(judged, publisher, champion=champion, who=who)
    reasons = (*judged.judgement.reasons, *said)
    outcome = _outcome(made, judged, champion, verdict, reasons, seconds=stages.seconds)
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
) -> Judged:
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
        judged = Judged(model, statistics, rival.version.version if rival else None, judgement)
        note_judgement(run, judged)
    return judged


def _outcome(
    made: Made,
    judged: Judged,
    champion: Version | None,
    verdict: Verdict,
    reasons: tuple[str, ...],
    *,
    seconds: dict[str, float],
) -> RetrainOutcome:
    return RetrainOutcome(
        verdict,
        judged.model,
        judged.statistics,
        champion,
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
