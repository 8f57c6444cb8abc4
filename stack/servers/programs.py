"""Where the programs of the servers lie; `stack/tools.sh` puts them there."""

import shutil
from pathlib import Path

TOOLS = Path(__file__).parents[2] / ".tools"


class Missing(RuntimeError):  # noqa: N818  what it says reads better without
    """A program that a server needs is not installed; the text says how to get it."""


def program(name: str, *, how: str, folders: tuple[Path, ...] = ()) -> Path:
    """Return the path of a program, first of the given folders, then of `.tools/bin`, then of the system."""
    for folder in (*folders, TOOLS / "bin"):
        if (folder / name).is_file():
            return folder / name
    found = shutil.which(name)
    if found is None:
        raise Missing(f"{name} is not installed: {how}")
    return Path(found)


def jars(name: str) -> Path:
    """Return the folder with the jars of a Java server."""
    folder = TOOLS / name
    if not folder.is_dir():
        raise Missing(f"the jars of {name} are not here: make stack-tools (needs Java 17 and Maven)")
    return folder


def java() -> Path:
    """Return the path of Java."""
    return program("java", how="install Java 17; on Debian and Ubuntu: apt-get install openjdk-17-jre-headless")
