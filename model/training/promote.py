"""The last step of a retraining: aliases move if the gate let the challenger pass.

It runs at the end of `antifraud retrain`, or by itself, from what the registry says of the challenger: then training,
judging and promoting can be three jobs on three machines that hand nothing to each other but the registry.
"""

from dataclasses import dataclass
from enum import StrEnum

from model.registry import (
    CHALLENGER,
    CHAMPION,
    CURRENT,
    MODEL_NAME,
    STATISTICS_NAME,
    AliasMovedError,
    AliasNotFoundError,
    Lease,
    MoveState,
    Publisher,
    RefusedError,
    RunHandle,
    Version,
    default_who,
    open_publisher,
)
from model.training.publish import is_fresher, same_kind
from model.training.rival import Judgement

LOCK = f"{MODEL_NAME}.retrain"
_PASSED, _NOT_PASSED, _NOBODY = "passed", "not passed", "none"


class Verdict(StrEnum):
    """How a run ended that did not fail."""

    PROMOTED = "promoted"
    KEPT = "kept"
    OVERTAKEN = "overtaken"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class Judged:
    """A challenger as it was registered with its statistics, and what the gate found.

    Attributes
    ----------
    champion
        The version number of the champion that it was held against; None if there was none.
    """

    model: Version
    statistics: Version
    champion: str | None
    judgement: Judgement


@dataclass(frozen=True, slots=True)
class Promotion:
    """What became of a challenger, and why, a sentence each."""

    verdict: Verdict
    judged: Judged
    reasons: tuple[str, ...]


def note_judgement(run: RunHandle, judged: Judged) -> None:
    """Write into the challenger's run what the gate found; `gate` comes last, so that nobody reads a part of it."""
    run.log_tags(
        {
            "gate_statistics": judged.statistics.version,
            "gate_champion": judged.champion or _NOBODY,
            "gate_said": " ".join(judged.judgement.reasons),
            "gate": _PASSED if judged.judgement.promote else _NOT_PASSED,
        }
    )


def read_judgement(publisher: Publisher) -> Judged:
    """Return the challenger of a registry and what the gate found of it.

    Raises
    ------
    AliasNotFoundError
        There is no challenger.
    RefusedError
        It was never judged, as its run was killed or `antifraud train` made it; or its statistics are gone.
    RegistryUnavailableError
        The registry cannot be reached.
    """
    model = publisher.find_alias(MODEL_NAME, CHALLENGER)
    if model is None:
        raise AliasNotFoundError(MODEL_NAME, CHALLENGER)
    tags = publisher.run_tags(model.run_id) if model.run_id else {}
    if tags.get("gate") not in (_PASSED, _NOT_PASSED) or "gate_champion" not in tags:
        raise RefusedError(f"the challenger, {model}, was not judged by the gate: run `antifraud retrain` again")
    number = tags.get("gate_statistics")
    statistics = next((one for one in publisher.versions(STATISTICS_NAME) if one.version == number), None)
    if statistics is None:
        raise RefusedError(f"the statistics made with {model} are no longer there: run `antifraud retrain` again")
    champion = None if tags["gate_champion"] == _NOBODY else tags["gate_champion"]
    judgement = Judgement(promote=tags["gate"] == _PASSED, reasons=(tags.get("gate_said", ""),))
    return Judged(model, statistics, champion, judgement)


def promote(tracking_uri: str) -> Promotion:
    """Let the challenger be the champion, if it passed the gate and the champion is still what it was held against.

    Repeating it changes nothing.

    Raises
    ------
    LockedError
        A retraining is at work; nothing was done.
    RefusedError
        The challenger was not judged, or it was the champion before and was taken back.
    RegistryError
        The champion is as it was.
    """
    who = f"antifraud promote, {default_who()}"
    publisher = open_publisher(tracking_uri, create=False)
    with publisher.lock(LOCK, who) as lease:
        judged = read_judgement(publisher)
        if not judged.judgement.promote:
            return Promotion(Verdict.KEPT, judged, judged.judgement.reasons)
        champion = publisher.find_alias(MODEL_NAME, CHAMPION)
        _refuse_taken_back(publisher, judged.model, champion)
        verdict, said = act(judged, publisher, champion=champion, lease=lease, who=who)
    return Promotion(verdict, judged, (*judged.judgement.reasons, *said))


def act(
    judged: Judged, publisher: Publisher, *, champion: Version | None, lease: Lease, who: str
) -> tuple[Verdict, list[str]]:
    """Move the aliases that are to move, the champion last; return what came of it and what else there is to say.

    Parameters
    ----------
    champion
        The version that is the champion.
    """
    lease.check()
    if not judged.judgement.promote:
        return Verdict.KEPT, freshen_for(judged, publisher, champion=champion, who=who)
    now = champion.version if champion else None
    if now not in (judged.champion, judged.model.version):
        moved = AliasMovedError(MODEL_NAME, CHAMPION, expected=judged.champion, current=now)
        return Verdict.OVERTAKEN, [f"{moved}."]
    said = _freshen(publisher, judged.statistics, who=who)
    why = " ".join(judged.judgement.reasons)
    lease.check()
    try:
        publisher.move_alias(MODEL_NAME, CHAMPION, judged.model.version, who=who, why=why, expected=judged.champion)
    except AliasMovedError as error:
        return Verdict.OVERTAKEN, [*said, f"{error}."]
    return Verdict.PROMOTED, said


def freshen_for(judged: Judged, publisher: Publisher, *, champion: Version | None, who: str) -> list[str]:
    """Let the new statistics be those in use where the champion, which stays, can read them."""
    if champion is None or not same_kind(champion, judged.statistics):
        return []
    return _freshen(publisher, judged.statistics, who=who)


def _refuse_taken_back(publisher: Publisher, model: Version, champion: Version | None) -> None:
    """Let no repeated job undo a person's rollback."""
    if champion is not None and champion.version == model.version:
        return
    happened = (MoveState.DONE, MoveState.MOVED)
    if any(
        move.alias == CHAMPION and move.after == model.version and move.state in happened
        for move in publisher.moves(MODEL_NAME)
    ):
        raise RefusedError(
            f"{model} was the champion before and was taken back; if it is to be the champion again:"
            f" `antifraud rollback --to {model.version} --why ...`"
        )


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
