"""What the parts of a refresh share: its errors, its rules and what it says in the end."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from model.registry import Version
from model.settings import Settings
from model.statistics import HOUR, LONGEST_WINDOW, WINDOWS, hour_text
from model.training.prepare import CleaningReport


class RefreshError(RuntimeError):
    """Say why no statistics were published; those in use stay."""


class RefreshBusyError(RuntimeError):
    """Say that another refresh is at work; nothing was done."""


class StateError(RuntimeError):
    """Say why the state of earlier runs cannot be used; it is then built anew from the history."""


def refuse_backwards(current_hour: int | None, *, as_of_hour: int) -> None:
    """Raise `RefreshError` if the statistics in use are of a later hour than those that are to be published."""
    if current_hour is not None and as_of_hour < current_hour:
        raise RefreshError(
            f"the statistics in use are as of {hour_text(current_hour)}, later than {hour_text(as_of_hour)}:"
            " nothing was published, they never go back in time"
        )


@dataclass(frozen=True, slots=True)
class Rules:
    """What decides which rows are kept and in which hour a report counts; another rule needs another state.

    Attributes
    ----------
    label_delay
        Seconds from a transaction to its report, for frauds whose report time nobody gives.
    longest_report_delay
        Hours after which a report of a transaction is not waited for any more.
    """

    label_delay: int
    longest_report_delay: int

    @classmethod
    def of(cls, settings: Settings) -> "Rules":
        """Return the rules that the settings give."""
        return cls(
            int(settings.label_delay.total_seconds()), int(settings.longest_report_delay.total_seconds()) // HOUR
        )

    def earliest_hour(self, as_of_hour: int) -> int:
        """Return the hour before which no transaction matters to statistics as of an hour or later."""
        return as_of_hour - WINDOWS[LONGEST_WINDOW] - self.longest_report_delay

    def expired_sql(self, as_of_hour: int) -> str:
        """Return the condition for rows that matter no more: too old, and not reported within the longest window.

        It is true or false of every row, never null.
        """
        report = f"GREATEST(COALESCE(report_seconds, tx_seconds + {self.label_delay}), tx_seconds)"
        reported = f"COALESCE(tx_fraud, 0) = 1 AND {report} >= {(as_of_hour - WINDOWS[LONGEST_WINDOW]) * HOUR}"
        return f"tx_seconds < {self.earliest_hour(as_of_hour) * HOUR} AND NOT ({reported})"

    def expired_report_sql(self, as_of_hour: int) -> str:
        """Return the condition for lines of reports that can concern no row that still matters."""
        return f"report_seconds < {self.earliest_hour(as_of_hour) * HOUR}"


@dataclass(frozen=True, slots=True)
class ReportLines:
    """The lines of the report files that a run read: how many, and of these how many said nothing that can be used."""

    read: int = 0
    unusable: int = 0


class Verdict(StrEnum):
    """How a run ended that did not fail."""

    PUBLISHED = "published"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class RefreshOutcome:
    """What a run read and published.

    Attributes
    ----------
    statistics
        The version that is current now.
    rebuilt
        Why the state was built anew from the history; empty if the earlier one was used.
    files_read, files_gone
        Files that were new or changed, and those that were gone; a changed one counts among both.
    cleaning
        Of the rows that this run read and that still matter.
    too_old
        Rows that this run read and that no window reaches any more.
    customers, terminals
        How many the statistics know; None if they were not added up, because nothing had changed.
    pruned
        Old versions that were deleted.
    notes
        What else there is to say, a sentence each.
    seconds
        How long each stage took.
    from_prepared
        Whether the history was a prepared one, which is read as a whole and needs no state.
    """

    verdict: Verdict
    statistics: Version
    as_of_hour: int
    rebuilt: str
    files_read: int
    files_gone: int
    cleaning: CleaningReport
    reports: ReportLines
    too_old: int
    customers: int | None
    terminals: int | None
    pruned: int
    notes: tuple[str, ...]
    seconds: dict[str, float]
    from_prepared: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "verdict": str(self.verdict),
            "statistics_version": self.statistics.version,
            "as_of": hour_text(self.as_of_hour),
            "rebuilt": self.rebuilt,
            "from_prepared": self.from_prepared,
            "files_read": self.files_read,
            "files_gone": self.files_gone,
            "rows_read": self.cleaning.rows_read + self.too_old,
            "rows_kept": self.cleaning.rows_kept,
            "rows_too_old": self.too_old,
            "dropped": self.cleaning.dropped,
            "files_skipped": list(self.cleaning.files_skipped),
            "report_lines_read": self.reports.read,
            "report_lines_unusable": self.reports.unusable,
            "customers": self.customers,
            "terminals": self.terminals,
            "versions_pruned": self.pruned,
            "notes": list(self.notes),
            "seconds": {name: round(seconds, 3) for name, seconds in self.seconds.items()},
        }
