"""A folder for what a run needs on the way and nobody needs afterwards."""

import errno
import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb

from model.training.fit import TrainingError

_PREFIX = "scratch-"
_IN_USE = "in-use"
_NO_ROOM = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG),  # disk, quota or file-size limit
    *(errno.EROFS, errno.EACCES, errno.EPERM, errno.EEXIST, errno.ENOTDIR),  # not a folder to write in
)


@contextmanager
def scratch_folder(work_folder: Path) -> Iterator[Path]:
    """Give a folder that is gone afterwards, however this ends; say clearly where there is no room for it.

    What a run that was killed has left behind is removed first: of a large bank it would be gigabytes each time.

    Raises
    ------
    TrainingError
        If files cannot be written there, or memory does not suffice.
    """
    try:
        work_folder.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(work_folder)
        with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=work_folder) as folder, _used(Path(folder)):
            yield Path(folder)
    except (OSError, duckdb.OperationalError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_ROOM:
            raise
        reason = str(error).splitlines()[0]
        raise TrainingError(
            f"cannot go on in the work folder {work_folder}: {reason}; see to room there and where the results go,"
            " then repeat the command"
        ) from error


@contextmanager
def _used(folder: Path) -> Iterator[None]:
    """Hold a lock in the folder, which the system lets go of when this process ends in whatever way."""
    draft = folder / f"{_IN_USE}.draft"
    with draft.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        draft.rename(folder / _IN_USE)  # from its first moment under this name it is locked
        yield


def _remove_abandoned(work_folder: Path) -> None:
    for folder in work_folder.glob(f"{_PREFIX}*"):
        # Without the file, a run has just made the folder and is about to lock it, or died in between: it is empty.
        with suppress(OSError), (folder / _IN_USE).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
