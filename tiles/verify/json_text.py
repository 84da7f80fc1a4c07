"""JSON of strangers: parsed within limits, and read with types that are checked."""

import json
import math
from collections.abc import Mapping
from typing import Any, TypeGuard

from tiles.verify.limits import MAX_JSON_DEPTH


class BadJson(ValueError):
    """Not usable JSON; the message says where."""


def parse(data: bytes) -> dict[str, Any]:
    """The object in a JSON text. BadJson for anything else: other encodings, NaN, depth, a list."""
    try:
        made = json.loads(data.decode("utf-8"), parse_constant=_refuse)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise BadJson(str(error)[:200] or type(error).__name__) from error
    if not isinstance(made, dict):
        raise BadJson(f"the text holds {type(made).__name__}, not an object")
    if depth(made) > MAX_JSON_DEPTH:
        raise BadJson(f"it is nested more than {MAX_JSON_DEPTH} deep")
    return made


def _refuse(word: str) -> float:
    raise ValueError(f"{word} is not JSON")


def depth(value: Any) -> int:
    """How deep objects and lists are nested, without recursion; stops counting one above the limit."""
    level, layer = 0, [value]
    while layer and level <= MAX_JSON_DEPTH:
        below: list[Any] = []
        for each in layer:
            if isinstance(each, dict):
                below += each.values()
            elif isinstance(each, list):
                below += each
        layer = [each for each in below if isinstance(each, dict | list)]
        level += 1
    return level


def is_number(value: Any) -> TypeGuard[float]:
    """A finite number, not a boolean, that fits float64."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def is_count(value: Any, lowest: int = 0) -> TypeGuard[int]:
    """A whole number in lowest..2^53."""
    return isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= 2**53


def numbers(value: Any, n: int) -> list[float] | None:
    """`n` finite numbers, or None."""
    if isinstance(value, list) and len(value) == n and all(is_number(each) for each in value):
        return [float(each) for each in value]
    return None


def pick[T](table: Mapping[Any, T], key: Any) -> T | None:
    """What a table has for a JSON value that names it; None also for lists, objects and booleans."""
    return table.get(key) if isinstance(key, str | int) and not isinstance(key, bool) else None


def objects(value: Any) -> list[dict[str, Any]]:
    """The list with {} for whatever is no object; [] for what is no list."""
    return [each if isinstance(each, dict) else {} for each in value] if isinstance(value, list) else []


def child(value: Any, *keys: str) -> dict[str, Any]:
    """The object under the keys, {} where something on the way is none."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def extensions_in(document: Any) -> set[str]:
    """Names of all extensions that are used anywhere in it (not inside `extras`)."""
    found: set[str] = set()
    waiting = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if isinstance(value.get("extensions"), dict):
                found |= set(value["extensions"])
            waiting += [each for key, each in value.items() if key != "extras"]
        elif isinstance(value, list):
            waiting += value
    return found
