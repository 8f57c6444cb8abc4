"""Sections of a page that commands write: each stands between two marks, and the rest of the page stays as it is."""

import json
from pathlib import Path
from typing import Any


def with_section(page: str, name: str, text: str, *, command: str) -> str:
    """Return the page with this section in the place of its last version, or at the end.

    Parameters
    ----------
    name
        Of the section, in its marks.
    command
        What writes it, for who reads the page's source.
    """
    begin, end = f"<!-- {name}: begin", f"<!-- {name}: end -->"
    block = f"{begin}, written by `{command}` -->\n\n{text.strip()}\n\n{end}\n"
    head, found, rest = page.partition(begin)
    if not found:
        return f"{head.rstrip()}\n\n{block}".lstrip()
    _, ended, tail = rest.partition(end)
    if not ended:
        raise ValueError(f"the section {name} begins, but its end mark is gone: put {end} back")
    return f"{head}{block}{tail.removeprefix(chr(10))}"


def write_section(page: Path, name: str, text: str, *, command: str) -> None:
    """Write a section into a page."""
    before = page.read_text(encoding="utf-8") if page.is_file() else ""
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(with_section(before, name, text, command=command), encoding="utf-8")


def write_figures(path: Path, name: str, figures: dict[str, Any]) -> None:
    """Write a section's figures into a JSON file beside those of other sections."""
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    known[name] = figures
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(known, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
