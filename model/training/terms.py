"""The terms on which a history is cleaned: with others, other rows come of the same files."""

from dataclasses import dataclass

from model.address import Location
from model.settings import Settings
from model.transaction import IdHasher


@dataclass(frozen=True, slots=True)
class Terms:
    """What is asked for besides the history itself.

    Attributes
    ----------
    hasher
        Hashes ids with the secret key.
    label_delay_seconds
        From a transaction to its report, for frauds whose report time the history does not have.
    reports
        A file or folder of lines that take the place of what rows say of themselves; see `model.training.reports`.
    skip_unreadable
        Leave out files that cannot be read, and name them in the report, in place of raising.
    """

    hasher: IdHasher
    label_delay_seconds: int
    reports: Location | None = None
    skip_unreadable: bool = False

    @classmethod
    def of(cls, settings: Settings, hasher: IdHasher) -> "Terms":
        """Return the terms that the settings give."""
        delay = int(settings.label_delay.total_seconds())
        return cls(hasher, delay, settings.reports, settings.skip_unreadable_files)
