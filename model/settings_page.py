"""The page of all settings, Markdown, made from the settings themselves."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from model.settings import PREFIX, UNITS, Settings

_PAGE_HEAD = """# Settings

All settings are environment variables; while developing, lines of a `.env` file in the working folder do as well. A
variable that begins with `FRAUD_` and is not in this list stops the start, as does a value that breaks its rule; the
message names the variable and the rule, never the value. Flags of `antifraud` commands stand above both.

This page is generated from `model/settings.py` by `antifraud settings`; `make check` compares the two.
"""


def settings_page() -> str:
    """Return the page of all settings, Markdown, that `docs/settings.md` holds."""
    lines = [_PAGE_HEAD, "| variable | default | rule | what for |", "|---|---|---|---|"]
    schema = Settings.model_json_schema()["properties"]
    for name, field in Settings.model_fields.items():
        meaning = " ".join((field.description or "").split())
        default = _default(field.default)
        lines.append(f"| `{PREFIX}{name.upper()}` | {default} | {_rule(schema[name])} | {meaning} |")
    return "\n".join(lines) + "\n"


def _default(value: object) -> str:
    if value is None or value == "":
        return "none"
    if isinstance(value, timedelta):
        return f"`{_as_duration(value)}`"
    return f"`{value}`"


def _as_duration(value: timedelta) -> str:
    """Return a duration as it is written in a setting; in hours where those are whole, else in the largest unit."""
    for letter in "hms":
        unit = timedelta(**{UNITS[letter]: 1})
        if value % unit == timedelta(0):
            return f"{value // unit}{letter}"
    raise ValueError(f"{value} is not a whole number of seconds")


def _rule(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(schema["enum"])
    if "pattern" in schema:
        pattern = str(schema["pattern"]).replace("|", "\\|")
        return f"matches `{pattern}`"
    bounds = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    rules = [f"{words} {schema[bound]:.15g}" for bound, words in bounds.items() if bound in schema]
    kinds = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false"}
    if schema.get("format") == "duration":
        return "duration, such as `90s`, `15m`, `1h`, `7d`"
    return ", ".join((kinds.get(schema.get("type", ""), "text"), *rules))
