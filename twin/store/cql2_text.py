"""CQL2 text brought into what the `cql2` package reads, and bounded before it does.

Spec: OGC 21-065r2, annex B and 8.2. The package's parser ends the whole process on deep nesting (measured: dead at
5,000 chained `=` and at 1,600 parentheses), knows no backslash in character literals, no `.5` and no empty array, and
reads every number as a double.
"""

import re
from typing import Any
from uuid import uuid4

from layers.errors import InvalidInput

MAX_CHARACTERS = 16_000
"""About what an address may have altogether."""
MAX_DEPTH = 30
"""SQLite itself refuses SQL that nests 100 deep, and one level here may be three there."""

_EXACT = 2**53
_EMPTY = uuid4().hex
"""Stands for the empty array while the package parses; nobody can guess it."""
_TOKEN = re.compile(
    r"""(?P<text>'(?:[^'\\]|''|\\.)*')|(?P<quoted>"(?:[^"]|"")*")|(?P<empty>(?<=[(,])\s*\(\s*\))"""
    r"""|(?P<number>(?<![\w.:])(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"""
    r"""|(?P<nests>[(\[])|(?P<ends>[)\]])|(?P<flat>,|\b(?:and|or)\b)|(?P<chains>\b(?:not|like|in|between|is|div)\b|[-+*/%^=<>])""",
    re.IGNORECASE | re.DOTALL,
)
_CONTROL = {"a": "\a", "b": "\b", "t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r", "'": "''"}


def parse(text: str) -> Any:
    """CQL2 text as CQL2-JSON. Raises InvalidInput, with the place, for what is no CQL2 or is too long or too deep."""
    if len(text) > MAX_CHARACTERS:
        raise InvalidInput(f"The filter has {len(text)} characters.", f"At most {MAX_CHARACTERS} are read.")
    ready, depth = _prepared(text)
    if depth > MAX_DEPTH:
        raise InvalidInput(f"The filter is nested {depth} deep.", f"At most {MAX_DEPTH} levels are read.")
    import cql2

    try:
        parsed = cql2.parse_text(ready).to_json()
    except (cql2.ParseError, cql2.ValidationError, ValueError) as error:
        where = " ".join(str(error).split())
        raise InvalidInput(f"The filter is no CQL2 text: {where[:300]}", "An example: height_m > 30.") from error
    return _restored(parsed, is_pattern=False)


def _prepared(text: str) -> tuple[str, int]:
    """The text as the package reads it, and an upper bound of how deep it will recurse.

    The bound counts open brackets, and operators that are chained without a comma, AND or OR between them.
    """
    out: list[str] = []
    chained, total, deepest, at = [0], 0, 0, 0
    for match in _TOKEN.finditer(text):
        out.append(text[at : match.start()])
        at, kind, token = match.end(), match.lastgroup, match[0]
        if kind == "text":
            token = re.sub(r"\\(.)", lambda found: _CONTROL.get(found[1], found[0]), token, flags=re.DOTALL)
        elif kind == "empty":
            token = f"('{_EMPTY}')"
        elif kind == "number":
            token = _number(token)
        elif kind == "nests":
            chained.append(0)
            total += 1
        elif kind == "ends" and len(chained) > 1:
            total -= chained.pop() + 1
        elif kind == "flat":
            total -= chained[-1]
            chained[-1] = 0
        elif kind == "chains":
            chained[-1] += 1
            total += 1
        deepest = max(deepest, total)
        out.append(token)
    return "".join(out) + text[at:], deepest


def _number(token: str) -> str:
    if token.isdigit() and int(token) > _EXACT:
        raise InvalidInput(
            f"The filter has the whole number {token[:30]}, which text does not carry exactly.",
            "Write the filter as CQL2 JSON.",
        )
    whole, point, rest = token.partition(".")
    if not point:
        return token
    return f"{whole or '0'}.{rest if rest[:1].isdigit() else '0' + rest}"


def _restored(node: Any, *, is_pattern: bool) -> Any:
    """Empty arrays, and backslashes taken out of literals that are no patterns of LIKE (which reads them itself)."""
    if isinstance(node, str):
        if node == _EMPTY:  # the package reads an array of one within another as its element
            return []
        return node if is_pattern else re.sub(r"\\(.)", r"\1", node, flags=re.DOTALL)
    if isinstance(node, list):
        return [] if node == [_EMPTY] else [_restored(each, is_pattern=is_pattern) for each in node]
    if not isinstance(node, dict):
        return node
    if node.get("op") == "like" and len(node["args"]) == 2:
        subject, pattern = node["args"]
        return node | {"args": [_restored(subject, is_pattern=False), _restored(pattern, is_pattern=True)]}
    if "property" in node or "coordinates" in node or "bbox" in node:
        return node
    return {
        key: value if key in {"op", "type"} else _restored(value, is_pattern=is_pattern) for key, value in node.items()
    }
