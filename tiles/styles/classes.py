"""Colours of a layer: one, or by the value of an attribute; national land-use and pipe colours from `colours.yaml`."""

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import yaml

from layers import land_codes
from layers.catalogue import LayerType

DEFAULT = "#888888"
SYSTEM = "code_system"
_LISTS = {"sd2017": ("sd2017", "sd2017"), "ydyh2023": ("ydyh", "ydyh2023"), "ydyh2020": ("ydyh", "ydyh2023")}
"""Value of `code_system` -> its entry in the colours, and the list of codes that are spelled out."""


@dataclass(frozen=True)
class Colours:
    """A colour expression, and the filter of the features that it is for (None: all)."""

    suffix: str
    colour: Any
    filter: list[Any] | None = None


def of_layer(layer_type: LayerType) -> list[Colours]:
    """What a layer is drawn in; several entries where its features follow different code lists."""
    plain = str(layer_type.style.get("color", DEFAULT))
    if SYSTEM in _names(layer_type):
        return _land_use(layer_type, plain)
    pipes = _data()["pipes"]
    if layer_type.id.startswith("pipe_") and pipes["by"] in _names(layer_type):
        own = layer_type.values.get(pipes["by"], "JS" if layer_type.id == "pipe_water" else "QT")
        return [Colours("", _match(pipes["by"], pipes["colours"], pipes["colours"].get(own, plain)))]
    by, named = layer_type.style.get("by"), layer_type.style.get("colors") or {}
    attribute = None if by is None else layer_type.attribute(str(by))
    if attribute is None or not named or attribute.type not in {"string", "integer", "number"}:
        return [Colours("", plain)]
    values = {key if attribute.type == "string" else _number(key): colour for key, colour in named.items()}
    return [Colours("", _match(attribute.name, {k: v for k, v in values.items() if k is not None}, plain))]


def needed(layer_type: LayerType) -> set[str]:
    """Attributes that a layer's style and labels read."""
    wanted = {"name", "height_m", SYSTEM, str(layer_type.style.get("by", ""))}
    for each in _data().values():
        wanted |= {each["by"]} if isinstance(each["by"], str) else set(each["by"])
    return wanted & _names(layer_type)


def _names(layer_type: LayerType) -> set[str]:
    return {each.name for each in layer_type.attributes}


def _land_use(layer_type: LayerType, plain: str) -> list[Colours]:
    """One entry for each list of codes, and one for features that name none of them."""
    found = []
    for system, (entry, listed) in _LISTS.items():
        table = _data()[entry]
        by = next((name for name in table["by"] if name in _names(layer_type)), None)
        if by is None:
            continue
        colours = _spelled(entry, listed)
        found.append(Colours(f"-{system}", _match(by, colours, plain), ["==", ["get", SYSTEM], system]))
    rest = ["all", *(["!=", ["get", SYSTEM], system] for system in _LISTS)]
    return [Colours("", plain, rest if found else None), *found]


@lru_cache(maxsize=8)
def _spelled(entry: str, listed: str) -> dict[str, str]:
    """Every code of a list with the colour of its longest beginning: `match` knows no beginnings."""
    table: dict[str, str] = _data()[entry]["colours"]
    spelled = {}
    for code in sorted(land_codes.codes(listed) or ()):
        known = next((code[:n] for n in range(len(code), 1, -1) if code[:n] in table), None)
        if known is not None:
            spelled[code] = table[known]
            if entry == "sd2017" and len(code) == 4:
                spelled[f"{code}K"] = table[known]  # land that can go back to farming
    return spelled


def _match(by: str, colours: dict[Any, str], otherwise: str) -> list[Any]:
    """`match` with one branch a colour."""
    branches: dict[str, list[Any]] = {}
    for value, colour in colours.items():
        branches.setdefault(colour, []).append(value)
    parts: list[Any] = []
    for colour, values in branches.items():
        parts += [values, colour]
    return ["match", ["get", by], *parts, otherwise]


def _number(text: Any) -> int | float | None:
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return int(value) if value.is_integer() else value


@lru_cache(maxsize=1)
def _data() -> dict[str, Any]:
    text = (files("tiles.styles") / "colours.yaml").read_text("utf-8")
    return yaml.safe_load(text)
