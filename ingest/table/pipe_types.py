"""Codes and names of pipelines, and names of columns in pipe surveys, as data: `layers/codes/pipe_types.yaml`."""

import re
from functools import lru_cache
from importlib.resources import files
from typing import Any

import yaml

from ingest.columns import fold
from ingest.units import narrow


@lru_cache(maxsize=1)
def data() -> dict[str, Any]:
    """The whole file."""
    text = files("layers").joinpath("codes", "pipe_types.yaml").read_text("utf8")
    made: dict[str, Any] = yaml.safe_load(text)
    return made


@lru_cache(maxsize=1)
def _by_name() -> dict[str, str]:
    found: dict[str, str] = {}
    for code, about in data()["types"].items():
        for name in (code, about["title"]["zh"], *about["names"]):
            found.setdefault(fold(name), code)
    return found


@lru_cache(maxsize=4096)
def code_of(text: str) -> str | None:
    """`JS`, `给水`, `给水管线`, `JS 给水` -> `JS`; None for what is not known."""
    plain = fold(text)
    if plain in _by_name():
        return _by_name()[plain]
    chinese = "".join(char for char in plain if "\u4e00" <= char <= "\u9fff")
    latin = "".join(char for char in plain if char.isascii() and char.isalpha())
    found = {_by_name()[each] for each in (chinese, latin) if each in _by_name()}
    return found.pop() if len(found) == 1 else None


def layer_of(code: str) -> str | None:
    """The layer that holds pipes of a code; None where the catalogue has none."""
    layer: str | None = data()["types"][code]["layer"]
    return layer


def code_in(name: str) -> str | None:
    """The kind of pipeline that the name of a file or sheet speaks of: `JS_LINE`, `给水管线表`; None for none."""
    plain = narrow(name)
    found = set()
    for code in data()["types"]:
        if re.search(rf"(?:^|[^A-Za-z]){code}(?=$|[^A-Za-z]|LINE|POINT|L$|P$)", plain, re.IGNORECASE):
            found.add(code)
    if not found:
        hits = {
            word: code
            for word, code in _by_name().items()
            if len(word) > 1 and word in fold(name) and ord(word[0]) > 255
        }
        longest = {word for word in hits if not any(word != other and word in other for other in hits)}
        found = {hits[word] for word in longest}
    return found.pop() if len(found) == 1 else None


def bare(column: str) -> str:
    """A column's name without what stands in brackets behind it: `管径(mm)` -> `管径`."""
    return fold(re.split(r"[(\[【]", narrow(column))[0])


def column(header: list[str], attribute: str) -> str | None:
    """The column of a table that is called like an attribute of `pipe_types.yaml`, or None."""
    by_name = {bare(each): each for each in reversed(header)}
    return next((by_name[bare(name)] for name in data()["columns"][attribute] if bare(name) in by_name), None)
