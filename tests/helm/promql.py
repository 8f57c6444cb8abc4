"""Which metrics, and which of their labels, PromQL text asks for."""

import re
from typing import Any

# Words of PromQL; what is followed by a parenthesis is a function or an aggregation and needs no list.
_WORDS = {
    "and",
    "or",
    "unless",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "by",
    "without",
    "bool",
    "offset",
    "inf",
}
_SELECTOR = re.compile(r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)\s*(?P<matchers>\{[^}]*\})?")
_LABEL_LIST = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")
_MATCHER = re.compile(r'(?P<label>[a-zA-Z_]\w*)\s*(?P<operator>=~|!~|!=|=)\s*"(?P<value>(?:[^"\\]|\\.)*)"')
_DURATION = re.compile(r"\[[^\]]*\]")
_NUMBER = re.compile(r"(?<![\w:])[0-9][0-9.]*(?:[eE][+-]?[0-9]+)?[smhdwy]?")

Matcher = tuple[str, str, str]


def selectors(expression: str) -> list[tuple[str, list[Matcher]]]:
    """Return each metric that an expression selects, with its matchers as (label, operator, value).

    >>> selectors('sum by (le) (rate(a_total{route="/x",status!~"5.."}[5m])) / 2e3 > on () b')
    [('a_total', [('route', '=', '/x'), ('status', '!~', '5..')]), ('b', [])]
    """
    parts = re.split(r"(\{[^}]*\})", expression)
    text = "".join(part if part.startswith("{") else _without_lists(part) for part in parts)
    found: list[tuple[str, list[Matcher]]] = []
    for match in _SELECTOR.finditer(text):
        is_call = text[match.end() :].lstrip().startswith("(")
        if match["name"] in _WORDS or (is_call and not match["matchers"]):
            continue
        matchers = [(str(one[1]), str(one[2]), str(one[3])) for one in _MATCHER.finditer(match["matchers"] or "")]
        found.append((match["name"], matchers))
    return found


def _without_lists(text: str) -> str:
    """Drop label lists, durations and numbers."""
    return _NUMBER.sub(" ", _DURATION.sub(" ", _LABEL_LIST.sub(" ", text)))


def expressions(node: Any) -> list[str]:
    """Return every `expr`, however deep."""
    if isinstance(node, list):
        return [found for item in node for found in expressions(item)]
    if isinstance(node, dict):
        own = [value for key, value in node.items() if key == "expr" and isinstance(value, str)]
        return own + [found for value in node.values() for found in expressions(value)]
    return []
