"""CQL2 text brought into what the `cql2` package reads, and bounded before it does.

Spec: OGC 21-065r2, annex B and 8.2. The package's parser ends the whole process on deep nesting (measured: dead at
5,000 chained `=` and at 1,600 parentheses), knows no backslash in character literals, no `.5` and no empty array, reads
every number as a double, and those of geometries not exactly (7 of 100 came out a last bit off, so that a point was not
within itself): geometries are read by GEOS.
"""

import re
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import orjson
import shapely

from layers.errors import InvalidInput

MAX_CHARACTERS = 16_000
"""About what an address may have altogether."""
MAX_DEPTH = 30
"""SQLite itself refuses SQL that nests 100 deep, and one level here may be three there."""

_EXACT = 2**53
_EMPTY = uuid4().hex
"""Stands for the empty array while the package parses; nobody can guess it."""
_TOKEN = re.compile(
    r"""(?P<text>'(?:[^'\\]|''|\\.)*')|(?P<quoted>"(?:[^"]|"")*")"""
    r"""|(?P<wkt>(?<![\w.:])(?:(?:MULTI)?(?:POINT|LINESTRING|POLYGON)|GEOMETRYCOLLECTION)(?:\s*Z)?\s*(?=\())|(?P<empty>(?<=[(,])\s*\(\s*\))"""
    r"""|(?P<number>(?<![\w.:])(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"""
    r"""|(?P<nests>[(\[])|(?P<ends>[)\]])|(?P<flat>,|\b(?:and|or)\b)|(?P<chains>\b(?:not|like|in|between|is|div)\b|[-+*/%^=<>])""",
    re.IGNORECASE | re.DOTALL,
)
_BRACKET = re.compile(r"[()]")
_CONTROL = {"a": "\a", "b": "\b", "t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r", "'": "''"}


def parse(text: str) -> Any:
    """CQL2 text as CQL2-JSON. Raises InvalidInput, with the place, for what is no CQL2 or is too long or too deep."""
    if len(text) > MAX_CHARACTERS:
        raise InvalidInput(f"The filter has {len(text)} characters.", f"At most {MAX_CHARACTERS} are read.")
    ready, depth, geometries = _prepared(text)
    if depth > MAX_DEPTH:
        raise InvalidInput(f"The filter is nested {depth} deep.", f"At most {MAX_DEPTH} levels are read.")
    import cql2

    try:
        parsed = cql2.parse_text(ready).to_json()
    except Exception as error:  # of an empty point it says so by a plain Exception
        where = " ".join(str(error).split())
        raise InvalidInput(f"The filter is no CQL2 text: {where[:300]}", "An example: height_m > 30.") from error
    return _Restored(geometries).of(parsed)


def _prepared(text: str) -> tuple[str, int, list[dict[str, Any]]]:
    """The text as the package reads it, an upper bound of how deep it will recurse, and its geometries as GeoJSON.

    Geometries are taken out; `POINT(k 0)` stands for the one of number k. The bound counts open brackets, and operators
    that are chained without a comma, AND or OR between them.
    """
    out: list[str] = []
    geometries: list[dict[str, Any]] = []
    chained, total, deepest, at = [0], 0, 0, 0
    while (match := _TOKEN.search(text, at)) is not None:
        out.append(text[at : match.start()])
        at, kind, token = match.end(), match.lastgroup, match[0]
        if kind == "wkt":
            at = _end(text, at)
            geometries.append(_geometry(text[match.start() : at]))
            token = f"POINT({len(geometries) - 1} 0)"
        elif kind == "text":
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
    return "".join(out) + text[at:], deepest, geometries


def _end(text: str, start: int) -> int:
    """Where the bracket that opens at `start` is closed."""
    depth = 0
    for match in _BRACKET.finditer(text, start):
        depth += 1 if match[0] == "(" else -1
        if depth > MAX_DEPTH:
            raise InvalidInput(f"A geometry of the filter is nested more than {MAX_DEPTH} deep.", "Use a simpler one.")
        if depth == 0:
            return match.end()
    raise InvalidInput("The filter is no CQL2 text: a geometry's bracket is not closed.", "Example: POINT(121 28)")


def _geometry(text: str) -> dict[str, Any]:
    try:
        found = orjson.loads(shapely.to_geojson(shapely.from_wkt(text)))
    except (shapely.errors.ShapelyError, ValueError) as error:
        said = " ".join(str(error).split())
        raise InvalidInput(f"The filter is no CQL2 text: {text[:60]} is no geometry: {said[:120]}.") from error
    return dict(found)


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


@dataclass(frozen=True)
class _Restored:
    """Puts back what was taken out, and takes backslashes out of literals that are no patterns of LIKE."""

    geometries: list[dict[str, Any]]

    def of(self, node: Any, *, is_pattern: bool = False) -> Any:
        """A node with all that is below it."""
        if isinstance(node, str):
            if node == _EMPTY:  # the package reads an array of one within another as its element
                return []
            return node if is_pattern else re.sub(r"\\(.)", r"\1", node, flags=re.DOTALL)
        if isinstance(node, list):
            return [] if node == [_EMPTY] else [self.of(each, is_pattern=is_pattern) for each in node]
        if not isinstance(node, dict) or "property" in node or "bbox" in node:
            return node
        if "coordinates" in node:
            return self._geometry(node["coordinates"])
        if node.get("op") == "like" and len(node["args"]) == 2:
            subject, pattern = node["args"]
            return node | {"args": [self.of(subject), self.of(pattern, is_pattern=True)]}
        same = {"op", "type"}
        return {key: value if key in same else self.of(value, is_pattern=is_pattern) for key, value in node.items()}

    def _geometry(self, place: Any) -> dict[str, Any]:
        """The geometry of the number that stands for it; the package sees geometries glued to a word, we do not."""
        number = place[0] if place else None
        if not isinstance(number, (int, float)) or not 0 <= number < len(self.geometries):
            raise InvalidInput("The filter has a geometry right behind a word.", "Put a blank between them.")
        return self.geometries[int(number)]
