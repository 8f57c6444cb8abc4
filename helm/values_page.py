"""Write the chart's README from its values: `python helm/values_page.py`, or `--check`."""

import argparse
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE / "README.md"
_LINE = re.compile(r"(?P<indent> *)(?P<key>[A-Za-z0-9_]+):(?: (?P<value>.*?))?(?:  +# (?P<words>.*))?$")
_BEGIN, _END = "<!-- values: begin, written by `make k8s` -->", "<!-- values: end -->"


def main(arguments: list[str] | None = None) -> int:
    """Write or compare the page; return 1 where it differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare with the file instead of writing it")
    options = parser.parse_args(arguments)
    text = PAGE.read_text(encoding="utf-8")
    head, _, rest = text.partition(_BEGIN)
    _, _, tail = rest.partition(_END)
    page = f"{head}{_BEGIN}\n{table((HERE / 'values.yaml').read_text(encoding='utf-8'))}{_END}{tail}"
    if not options.check:
        PAGE.write_text(page, encoding="utf-8")
        return 0
    if page == text:
        return 0
    print("helm/README.md is not what values.yaml says: run `make k8s`", file=sys.stderr)
    return 1


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
