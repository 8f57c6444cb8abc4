"""Write the chart's README from its values: `python helm/values_page.py`, or `--check`."""

import re
import sys
from pathlib import Path

from written_section import Section

HERE = Path(__file__).parent
PAGE = HERE / "README.md"
_LINE = re.compile(r"(?P<indent> *)(?P<key>[A-Za-z0-9_]+):(?: (?P<value>.*?))?(?:  +# (?P<words>.*))?$")


def main(arguments: list[str] | None = None) -> int:
    """Write or compare the page; return 1 where it differs."""
    stale = "helm/README.md is not what values.yaml says"
    return Section(PAGE, "values", _table_of_values, stale).main(arguments, __doc__)


def _table_of_values() -> str:
    return table((HERE / "values.yaml").read_text(encoding="utf-8"))


def table(values: str) -> str:
    """Return a Markdown table of every value with its default and what is said of it in `values.yaml`."""
    rows = ["| value | default | what for |", "|---|---|---|"]
    path: list[tuple[int, str]] = []
    above: list[str] = []
    for line in values.splitlines():
        if line.lstrip().startswith("#"):
            above.append(line.strip().removeprefix("# "))
            continue
        found = _LINE.fullmatch(line)
        if found is None:
            above = []
            continue
        indent = len(found["indent"])
        path = [*((depth, key) for depth, key in path if depth < indent), (indent, found["key"])]
        words = " ".join([*above, found["words"] or ""]).strip()
        default = f"`{found['value'].strip()}`" if found["value"] else ""
        if default or words:
            rows.append(f"| `{'.'.join(key for _, key in path)}` | {default} | {words} |")
        above = []
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.exit(main())
