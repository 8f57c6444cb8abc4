"""Fresh statistics go into the registry: the champion must be able to read them, and nobody is set back in time."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from model.bundle import write_snapshot
from model.features import schema_fingerprint
from model.registry import (
    CHAMPION,
    CURRENT,
    MODEL_NAME,
    STATISTICS_NAME,
    AliasMovedError,
    Publisher,
    RegistryError,
    Version,
    default_who,
)
from model.statistics import HOUR, Snapshot, hour_text
from model.training.publish import EXPERIMENT
from model.training.refresh.contract import RefreshError, refuse_backwards

_ATTEMPTS = 3  # to move the alias, while other jobs move it too


@dataclass(frozen=True, slots=True)
class Office:
    """Where statistics of one id key are published."""

    publisher: Publisher
    id_key_fingerprint: str

    @property
    def identity(self) -> dict[str, str]:
        """The tags that say which models can read the statistics."""
        return {"id_key_fingerprint": self.id_key_fingerprint, "feature_schema": schema_fingerprint()}

    def refuse_misfit(self) -> None:
        """Raise `RefreshError` if the champion could not read statistics of this id key and these features."""
        champion = self.publisher.find_alias(MODEL_NAME, CHAMPION)
        if champion is None:
            return
        for (tag, value), words in zip(self.identity.items(), ("another id key", "other features"), strict=True):
            if champion.tags.get(tag) != value:
                raise RefreshError(
                    f"the champion, {champion}, was trained with {words} and could not read these statistics:"
                    " nothing was published"
                )

    def current(self) -> Version | None:
        """Return the statistics in use; those of another id key or other features are nobody's, and not counted."""
        found = self.publisher.find_alias(STATISTICS_NAME, CURRENT)
        is_ours = found is not None and all(found.tags.get(tag) == value for tag, value in self.identity.items())
        return found if is_ours else None

    def register(self, snapshot: Snapshot, folder: Path, *, figures: dict[str, float]) -> tuple[Version, bool]:
        """Publish statistics, unless those in use are the same to the last bit, and make them current.

        Parameters
        ----------
        folder
            Where they are written before they are uploaded; must not be there yet.
        figures
            What is noted with the run.

        Returns
        -------
        tuple
            The version in use now, and whether it is a new one.

        Raises
        ------
        RefreshError
            If the champion or the statistics in use are others by now, and stand against it.
        LockedError, RegistryError
            As `model.registry.Publisher` does.
        """
        digest = write_snapshot(folder, snapshot, id_key_fingerprint=self.id_key_fingerprint, facts={})
        current = self.current()
        if current is not None and current.tags.get("manifest_sha256") == digest:
            return current, False
        as_of = {"as_of": snapshot.as_of}
        with self.publisher.run(EXPERIMENT, "refresh", as_of) as run:
            tags = self.identity | as_of | {"manifest_sha256": digest}
            version = self.publisher.publish(STATISTICS_NAME, folder, run_id=run.run_id, tags=tags)
            run.log_metrics(figures)
        self._make_current(version, as_of_hour=snapshot.as_of_hour)
        return version, True

    def _make_current(self, version: Version, *, as_of_hour: int) -> None:
        who, why = f"antifraud refresh, {default_who()}", f"statistics as of {hour_text(as_of_hour)}"
        for attempt in range(1, _ATTEMPTS + 1):
            present = self.publisher.find_alias(STATISTICS_NAME, CURRENT)
            self.refuse_misfit()
            refuse_backwards(hour_of(self.current()), as_of_hour=as_of_hour)
            expected = present.version if present else None
            try:
                self.publisher.move_alias(
                    STATISTICS_NAME, CURRENT, version.version, who=who, why=why, expected=expected
                )
            except AliasMovedError:
                if attempt == _ATTEMPTS:
                    raise
            else:
                return

    def prune(self, *, keep: int) -> tuple[int, str]:
        """Delete the oldest statistics, and return how many, and why not if that failed.

        The new ones are in use by then: what cannot be deleted now is deleted an hour later.
        """
        try:
            return len(self.publisher.prune(STATISTICS_NAME, keep=keep)), ""
        except RegistryError as error:
            return 0, f"old statistics could not be deleted: {error}"


def hour_of(version: Version | None) -> int | None:
    """Return the hour that statistics are as of; None where there are none, or they do not say."""
    try:
        return int(datetime.fromisoformat(version.tags["as_of"]).timestamp()) // HOUR if version else None
    except (KeyError, ValueError):
        return None
