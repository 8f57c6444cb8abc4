"""The part of a page that a script writes: it stands between two marks, and the rest of the page stays as it is."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


class SectionError(RuntimeError):
    """What the section should say cannot be found out."""


@dataclass(frozen=True, slots=True)
class Section:
    """One written section.

    Attributes
    ----------
    name
        In its marks, and before what is said of a failure.
    text
        Makes what stands between the marks; may raise `SectionError` or `OSError`.
    stale
        What to say where the page has something else.
    """

    page: Path
    name: str
    text: Callable[[], str]
    stale: str

    def main(self, arguments: list[str] | None, description: str | None) -> int:
        """Write or compare the page; return 1 where it differs or cannot be made."""
        parser = argparse.ArgumentParser(description=description)
        parser.add_argument("--check", action="store_true", help="compare with the file instead of writing it")
        options = parser.parse_args(arguments)
        before = self.page.read_text(encoding="utf-8")
        try:
            after = self.put_into(before)
        except (SectionError, OSError) as error:
            print(f"{self.name}: {error}", file=sys.stderr)
            return 1
        if not options.check:
            self.page.write_text(after, encoding="utf-8")
            return 0
        if after == before:
            return 0
        print(f"{self.stale}: run `make k8s`", file=sys.stderr)
        return 1

    def put_into(self, page: str) -> str:
        """Return the page with this section in the place of its last version."""
        begin, end = f"<!-- {self.name}: begin, written by `make k8s` -->", f"<!-- {self.name}: end -->"
        head, _, rest = page.partition(begin)
        _, _, tail = rest.partition(end)
        return f"{head}{begin}\n{self.text()}{end}{tail}"
