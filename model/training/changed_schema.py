"""What a person is told of files whose columns are not as expected: the first, the column, and since which day."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from model.training.addresses import PlacedFile
from model.training.addresses.days import named_day
from model.training.reading import HistoryFile


@dataclass(frozen=True, slots=True)
class Misfit:
    """A column of one file that is not as it must be, and the words for it."""

    file: HistoryFile
    column: str
    words: str


def told(misfits: Sequence[Misfit], files: Sequence[HistoryFile], *, expected: Mapping[str, str]) -> str:
    """Return the error for the first misfit; where other files fit, it says that the definition changed, and where."""
    first = misfits[0]
    text = f"history {first.file.path}: column {first.column} {first.words}"
    alike = [one.file for one in misfits if one.column == first.column]
    odd = {id(file) for file in alike}
    others = [file for file in files if id(file) not in odd]
    if not others:
        return text
    told_so = f"{text}. So it is in {len(alike):,} of {len(files):,} files, {_range(alike)};"
    told_so += f" the others, {_range(others)}, have it as expected"
    new = [name for name in first.file.columns if name not in others[0].columns and name not in expected]
    if new and first.column not in first.file.columns:
        told_so += f" (only this one has {', '.join(new[:3])}: was the column renamed?)"
    return f"{told_so}. Bring the files to one definition of {first.column}"


def name_of(path: Path | PlacedFile) -> str:
    """Return the name of a file with its folders."""
    return path.as_posix() if isinstance(path, Path) else path.name


def _range(files: Sequence[HistoryFile]) -> str:
    """Return the days of some files, or the first and last of their names where these give no day."""
    names = [name_of(file.path) for file in files]
    days = sorted(day for name in names if (day := named_day(name)) is not None)
    if days:
        return f"{days[0]} to {days[-1]}" if days[0] != days[-1] else f"of {days[0]}"
    short = sorted(name.rsplit("/", 1)[-1] for name in names)
    return f"{short[0]} to {short[-1]}" if len(short) > 1 else short[0]
