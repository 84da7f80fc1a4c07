"""JSON text of city models -> objects: quick where it is sound, exact about the place where it is not."""

import json
import re
from collections import Counter
from typing import Any

import orjson

from layers.errors import InvalidInput

_KEY_END = re.compile(rb'"\s*:')


def parse(data: bytes, name: str, line: int = 1) -> dict[str, Any]:
    """One JSON object. `name` and `line` are for the message of InvalidInput: not JSON, a key twice, no object."""
    try:
        document = orjson.loads(data.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as error:
        at = f"line {line + error.lineno - 1}, column {error.colno}"
        raise broken(f"{name} is not JSON at {at}: {error.msg}.") from error
    if not isinstance(document, dict):
        raise InvalidInput(f"{name} is not a JSON object.", "It is no CityJSON.", code="CJ_INVALID")
    # orjson takes the last of two equal keys in silence; where the text has more `":` than there are keys, look closer
    if len(_KEY_END.findall(data)) != _n_keys(document):
        _refuse_repeated_keys(data, name)
    return document


def broken(problem: str) -> InvalidInput:
    """The refusal of text that is not JSON."""
    return InvalidInput(problem, "It is cut off or damaged: export it again.", code="JSON_BROKEN")


def repeated(name: str, key: str) -> InvalidInput:
    """The refusal of an object with a key twice."""
    problem = f"{name} has the key {key!r} twice in one object, so one of the two would be lost."
    return InvalidInput(problem, "Rename one of them.", code="JSON_DUPLICATE_KEY")


def _n_keys(document: dict[str, Any]) -> int:
    """Keys in a document; lists that begin with numbers or lists are not looked into."""
    count, stack = 0, [document]
    while stack:
        each = stack.pop()
        count += len(each)
        for value in each.values():
            if isinstance(value, dict):
                stack.append(value)
            elif isinstance(value, list) and value and isinstance(value[0], dict):
                stack += [item for item in value if isinstance(item, dict)]
    return count


def _refuse_repeated_keys(data: bytes, name: str) -> None:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            raise repeated(name, next(key for key, n in Counter(key for key, _ in pairs).items() if n > 1))
        return made

    try:
        json.loads(data, object_pairs_hook=once)
    except RecursionError as error:
        raise broken(f"{name} is nested too deeply.") from error
