"""Print what an image holds, biggest first, as a table in Markdown; it runs inside the image, on its own Python."""

import os
from pathlib import Path

SITE = next(Path("/opt/antifraud/lib").glob("python3*/site-packages"))
SHOWN = 1.0  # MB; what is smaller is summed up


def megabytes(folder: Path) -> float:
    """Return what the files of a folder take, each counted once however many names it has."""
    seen: dict[tuple[int, int], int] = {}
    for where, _, names in os.walk(folder):
        for name in names:
            found = (Path(where) / name).lstat()
            seen[found.st_dev, found.st_ino] = found.st_size
    return sum(seen.values()) / 1e6


def owner(name: str) -> str:
    """Return the package that a folder of site-packages belongs to."""
    return name.removesuffix(".libs").partition("-")[0].lower()


def main() -> None:
    """Print the table."""
    packages: dict[str, float] = {}
    for entry in SITE.iterdir():
        size = megabytes(entry) if entry.is_dir() else entry.stat().st_size / 1e6
        packages[owner(entry.name)] = packages.get(owner(entry.name), 0) + size
    own = sum(packages.pop(name, 0) for name in ("antifraud", "model", "service"))
    whole = sum(megabytes(Path("/", name)) for name in ("usr", "var", "etc", "opt", "home", "root", "srv"))
    system = whole - own - sum(packages.values())
    rows = [
        (system, "base image and libgomp1"),
        (own, "this project"),
        *((size, name) for name, size in packages.items()),
    ]
    small = [size for size, _ in rows if size < SHOWN]
    rows = sorted((row for row in rows if row[0] >= SHOWN), reverse=True)
    print("| MB | what |\n|---|---|")
    for size, name in rows:
        print(f"| {size:.0f} | {name} |")
    print(f"| {sum(small):.0f} | {len(small)} more, each below {SHOWN:.0f} MB |")
    print(f"| **{whole:.0f}** | **all** |")


if __name__ == "__main__":
    main()
