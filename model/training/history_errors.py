"""What can be wrong with a history, said to whoever gave it."""

from pathlib import Path

from model.training.addresses import PlacedFile

FileAt = Path | PlacedFile


class HistoryError(ValueError):
    """History that cannot be read: nothing there, a column missing, a column of the wrong type."""


class PreparedHistoryError(HistoryError):
    """A raw history is needed, and the address holds what `antifraud prepare` made of one."""


class UnreadableFileError(HistoryError):
    """A file that is no Parquet or CSV, or broken; `path` is where it lies."""

    def __init__(self, path: FileAt, reason: str) -> None:
        super().__init__(reason)
        self.path = path
