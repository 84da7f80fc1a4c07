"""What several operations say in the same words, said once in `components`: the document is read for every layer."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import orjson

Node = dict[str, Any]


def share(paths: Node, components: Node) -> None:
    """Parameters and answers that occur more than once become components; both arguments are changed in place.

    Names are the parameter's own (`style`, then `style2`), or `answer404` and so on.
    """
    for kind, places in (("parameters", _parameters), ("responses", _responses)):
        counts = Counter(_key(holder[place]) for holder, place, _ in places(paths))
        names: dict[bytes, str] = {}
        for holder, place, name in places(paths):
            key = _key(holder[place])
            if "$ref" in holder[place] or counts[key] < 2:
                continue
            if key not in names:
                names[key] = _free(name, components[kind])
                components[kind][names[key]] = holder[place]
            holder[place] = {"$ref": f"#/components/{kind}/{names[key]}"}


def _operations(paths: Node) -> Iterator[Node]:
    for methods in paths.values():
        yield from methods.values()


def _parameters(paths: Node) -> Iterator[tuple[Any, Any, str]]:
    for operation in _operations(paths):
        found = operation["parameters"]
        for i, each in enumerate(found):
            yield found, i, each.get("name", "")


def _responses(paths: Node) -> Iterator[tuple[Any, Any, str]]:
    for operation in _operations(paths):
        found = operation["responses"]
        for status in list(found):
            if not status.startswith("2"):
                yield found, status, f"answer{status}"


def _key(node: Node) -> bytes:
    return orjson.dumps(node, option=orjson.OPT_SORT_KEYS)


def _free(name: str, taken: Node) -> str:
    if name not in taken:
        return name
    return next(f"{name}{i}" for i in range(2, len(taken) + 3) if f"{name}{i}" not in taken)
