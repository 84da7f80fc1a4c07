"""The `filter`, `filter-lang`, `filter-crs` and `q` parameters -> CQL2 JSON in the city's CRS.

OGC 19-079r2 (features part 3), 21-065r2 (CQL2); `q` as in the draft of part 9, text search.
"""

from functools import lru_cache
from typing import Any

from layers import crs
from layers.catalogue import LayerType
from layers.errors import InvalidInput
from server.serving import Snapshot
from twin.store import cql2_parse

MAX_TERMS, MAX_TERM = 20, 200
"""Of `q`: terms, and characters of a term."""
SHORT = 2_000
"""Characters of a filter that is remembered."""


def parse(given: dict[str, str], snapshot: Snapshot) -> dict[str, Any]:
    """A filter as CQL2 JSON whose geometries are in the city's CRS, east first. InvalidInput says what is wrong."""
    text = given["filter"]
    parsed = _parsed_before if len(text) <= SHORT else _parsed
    return _placed(parsed(text, given.get("filter-lang")), given, snapshot)


def _placed(parsed: dict[str, Any], given: dict[str, str], snapshot: Snapshot) -> dict[str, Any]:
    from server.parameters import asked_crs

    source = asked_crs(given, "filter-crs", snapshot)
    if crs.is_north_first(source):
        parsed = cql2_parse.swapped(parsed)
    return cql2_parse.reproject(parsed, source, snapshot.city.config.crs)


def _parsed(text: str, language: str | None) -> dict[str, Any]:
    if language not in (None, "cql2-text", "cql2-json"):
        raise InvalidInput(f"filter-lang={language[:30]!r} is not offered.", "Use cql2-text or cql2-json.")
    if language == "cql2-json" or (language is None and text.lstrip().startswith("{")):
        return cql2_parse.from_json(text)
    return cql2_parse.from_text(text)


_parsed_before = lru_cache(maxsize=256)(_parsed)
"""Who pages or draws a map sends the same filter again and again. Whoever gets it leaves it as it is."""


def all_of(conditions: list[dict[str, Any]]) -> dict[str, Any] | None:
    """All conditions joined by AND; None for none."""
    if not conditions:
        return None
    return conditions[0] if len(conditions) == 1 else {"op": "and", "args": conditions}


def text_search(text: str, layer_type: LayerType) -> dict[str, Any]:
    """`q` as a filter: features that hold one of the terms in their id or in one of their texts, whatever the case.

    Commas stand between terms. The words of a term must follow one another, with any white space between them.
    """
    terms = [" ".join(part.split()) for part in text.split(",")]
    terms = list(dict.fromkeys(term for term in terms if term))
    if not terms or len(terms) > MAX_TERMS or max(map(len, terms)) > MAX_TERM:
        raise InvalidInput(
            f"q={text[:60]!r} has {len(terms)} terms, the longest of {max(map(len, terms), default=0)} characters.",
            f"Give 1 to {MAX_TERMS}, separated by commas, of at most {MAX_TERM} characters each.",
        )
    names = ["id", *(each.name for each in layer_type.attributes if each.type == "string")]
    found = [{"op": "contains_text", "args": [{"property": name}, term]} for name in names for term in terms]
    return {"op": "or", "args": found} if len(found) > 1 else found[0]
