"""The whole way from a raw history to a published model: clean, split, fit, calibrate, test, bundle, register."""

from dataclasses import dataclass
from pathlib import Path

from model.address import Location
from model.registry import Version, open_publisher
from model.settings import Settings
from model.training.evaluation import Evaluation
from model.training.making import MAKING_STAGES, make
from model.training.prepare import CleaningReport
from model.training.progress import Stages
from model.training.publish import may_appoint, publish
from model.training.report_files import write_json
from model.training.scratch import scratch_folder

STAGES = MAKING_STAGES + 2


@dataclass(frozen=True, slots=True)
class TrainingOutcome:
    """What a training run published, and how long each stage took in seconds."""

    model: Version
    statistics: Version
    is_champion: bool
    cleaning: CleaningReport
    evaluation: Evaluation
    report: Path
    seconds: dict[str, float]


def train(
    address: Location, *, settings: Settings, tracking_uri: str, appoint: bool = False, progress: bool = True
) -> TrainingOutcome:
    """Train on a history and publish model and statistics.

    Parameters
    ----------
    address
        A CSV or Parquet file, or a folder of them: a path, `s3://bucket/prefix` or `hdfs://host:port/path`.
    tracking_uri
        MLflow registry, as `model.registry.open_publisher` takes it.
    appoint
        Make the model the champion; without this it becomes champion only where there is none yet.
    progress
        Whether to show the stage at work on a terminal.

    Returns
    -------
    TrainingOutcome
        Its `report` folder holds `evaluation.json`, `evaluation.txt`, `cleaning.json`, `stages.json` and the figures.

    Raises
    ------
    HistoryError, CleaningError, SplitError, TrainingError, SettingsError, RegistryError
        Before anything is published.
    """
    hasher = settings.id_hasher()
    with scratch_folder(settings.work_folder) as scratch, Stages(STAGES, shown=progress) as stages:
        stages.begin("opening the registry")  # its mistakes, as those of the key, are better known now than in an hour
        publisher, key = open_publisher(tracking_uri), hasher.fingerprint
        may_appoint(publisher, id_key_fingerprint=key, appoint=appoint)
        made = make(address, settings=settings, hasher=hasher, scratch=scratch, stages=stages)
        stages.begin("registering")
        published = publish(
            made.candidate, made.report, publisher, folder=scratch, id_key_fingerprint=key, appoint=appoint
        )
    write_json(made.report / "stages.json", stages.seconds)
    versions = published.model, published.statistics, published.is_champion
    return TrainingOutcome(*versions, made.periods.cleaning, made.tested.evaluation, made.report, stages.seconds)
